"""What one core can do against a server that answers at once: the whole path of a run, beside bare loops of calls.

The server and the client have a core each. In every round the run is measured between two loops of each kind, on the
same core, and only figures of one round are compared. The whole path is: plan, pace, reserve, journal with fsync, send,
settle, metrics. Rates are what the server saw, from the first request to the last; of the processor time that of a run
of one row in the same round, which is starting and ending, is taken off. Where the time goes: `bench/profiled.py`.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.beside import LOOPS, Done, Loop, bare_loop, whole_path
from bench.frame import Figure, Options, Part, Peer, at_least
from bench.recipes import grid_recipe
from bench.running import Usage, tunemill_run
from bench.servers import Nginx, nginx

PEERS: Sequence[Loop] = ("post", "plain", "aiohttp")
AT_ONCE = 64
# Said, so that nobody has to find out by and by that there is no limit.
LIMITS = f"requests_per_minute = 60_000_000\ntokens_per_minute = 60_000_000_000\nconcurrency = {AT_ONCE}"
RATE_MIN = 2_000
RATE_WANTED = 4_000
RATIO_MIN = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Measured within about a minute: the whole path, a run of one row, and each loop before and after."""

    whole: Done
    edges: Usage
    peers: Mapping[Loop, tuple[Done, Done]]

    def peer_rate(self, peer: Loop) -> float:
        """Requests per second of both loops together."""
        return sum(done.requests for done in self.peers[peer]) / sum(done.seconds for done in self.peers[peer])

    def peer_cpu_ms(self, peer: Loop) -> float:
        """Processor time of a request in the loops."""
        return statistics.mean(done.cpu_ms for done in self.peers[peer])


def measure(options: Options) -> Iterator[Figure]:
    """About 40 seconds a round."""
    rounds = []
    for number in range(options.rounds):
        folder = options.folder / str(number)
        folder.mkdir()
        rounds.append(_round(folder, options))
    yield from _figures(rounds)


def _round(folder: Path, options: Options) -> Round:
    rows, calls = options.size(20_000, 5_000), options.size(3_000, 1_000)
    with nginx() as server:
        before = {peer: _bare(peer, server, calls, folder) for peer in PEERS}
        edges = _run(folder / "one", server, rows=1)
    with nginx() as server:
        run = _run(folder / "many", server, rows=rows)
        assert server.received() == rows, "every request once"
        whole = whole_path(run, rows).seen_by(server).less(edges)
        peers = {peer: (before[peer], _bare(peer, server, calls, folder)) for peer in PEERS}
    return Round(whole=whole, edges=edges, peers=peers)


def _bare(peer: Loop, server: Nginx, calls: int, folder: Path) -> Done:
    return bare_loop(peer, server.base_url, calls=calls, at_once=AT_ONCE, folder=folder)


def _run(folder: Path, server: Nginx, *, rows: int) -> Usage:
    folder.mkdir()
    return tunemill_run(run_recipe(folder, rows=rows), folder / "run", server=server.base_url)


def run_recipe(folder: Path, *, rows: int) -> Path:
    """The recipe of a run of so many rows."""
    return grid_recipe(folder / "recipe.toml", rows=rows, limits=LIMITS)


def _figures(rounds: Sequence[Round]) -> Iterator[Figure]:
    rates = [each.whole.rate for each in rounds]
    yield Figure(name="whole path", unit="requests/s", values=rates, limit=at_least(RATE_MIN))
    yield Figure(name="whole path, as wanted", unit="requests/s", values=rates, limit=at_least(RATE_WANTED))
    for peer in PEERS:
        yield Figure(
            name=f"compared with {LOOPS[peer]}",
            unit="x",
            values=[each.whole.rate / each.peer_rate(peer) for each in rounds],
            limit=at_least(RATIO_MIN) if peer == "post" else None,
            peer=Peer(name="its requests/s", values=[each.peer_rate(peer) for each in rounds]),
        )
        yield Figure(
            name=f"processor time of a request, beside {LOOPS[peer]}",
            unit="ms",
            values=[each.whole.cpu_ms for each in rounds],
            peer=Peer(name="it", values=[each.peer_cpu_ms(peer) for each in rounds]),
        )
    yield Figure(name="resident memory", unit="MiB", values=[each.whole.max_rss_mib for each in rounds])
    yield Figure(name="starting and ending", unit="s", values=[each.edges.seconds for each in rounds])


PART = Part(
    title="Throughput on one core",
    about=(
        "The whole path of a run (plan, pace, reserve, journal with fsync, send, settle, metrics) against nginx, which "
        f"returns a fixed completion at once; {AT_ONCE} requests at once; client and server have a core each."
    ),
    measure=measure,
)
