"""The main job as a whole process, on the simulator: rate, memory, and starting a finished run again.

In each round a small run and a large one are measured, the large one between two loops of bare SDK calls to the same
server, and then the finished large run is started again. Start-up and end are included everywhere.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.beside import LOOPS, Loop, bare_loop
from bench.frame import Figure, Options, Part, Peer, at_least, at_most
from bench.recipes import grid_recipe
from bench.running import Usage, tunemill_run
from bench.servers import Simulator, simulator

PEERS: Sequence[Loop] = ("default", "aiohttp")
SMALL = 1_000
AT_ONCE = 64
RESUMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Everything that was measured within about a minute. `peers` have requests/s, before and after the large run."""

    rows: int
    small: Usage
    large: Usage
    resumed: Sequence[Usage]
    peers: Mapping[Loop, Sequence[float]]

    def peer(self, name: Loop) -> float:
        """A peer's requests/s in this round."""
        return statistics.mean(self.peers[name])

    @property
    def rate(self) -> float:
        """The large run's requests/s."""
        return self.large.rate(self.rows)


def measure(options: Options) -> Iterator[Figure]:
    """The rounds, then the figures."""
    rounds = []
    for number in range(options.rounds):
        folder = options.folder / str(number)
        folder.mkdir()
        with simulator("--latency-s", "0") as server:
            rounds.append(_round(options, folder, server))
    yield from _figures(rounds)


def _round(options: Options, folder: Path, server: Simulator) -> Round:
    rows, calls = options.size(20_000, 4_000), options.size(4_000, 1_000)
    small = _run(folder, server, SMALL, SMALL)
    before = {peer: _bare(folder, server, peer, calls) for peer in PEERS}
    large = _run(folder, server, rows, rows)
    peers = {peer: (before[peer], _bare(folder, server, peer, calls)) for peer in PEERS}
    resumed = [_run(folder, server, rows, 0) for _ in range(RESUMES)]
    return Round(rows=rows, small=small, large=large, resumed=resumed, peers=peers)


def _run(folder: Path, server: Simulator, rows: int, requests: int) -> Usage:
    recipe = grid_recipe(folder / f"{rows}.toml", rows=rows, limits=f"concurrency = {AT_ONCE}")
    before = server.received()
    usage = tunemill_run(recipe, folder / f"run-{rows}", server=server.base_url)
    assert server.received() - before == requests, "every request once"
    return usage


def _bare(folder: Path, server: Simulator, kind: Loop, calls: int) -> float:
    return bare_loop(kind, server.base_url, calls=calls, at_once=AT_ONCE, folder=folder).rate


def _figures(rounds: Sequence[Round]) -> Iterator[Figure]:
    rows = rounds[0].rows
    for peer in PEERS:
        name = LOOPS[peer]
        rates = [of_one.rate for of_one in rounds]
        beside = Peer(name=name, values=[of_one.peer(peer) for of_one in rounds])
        yield Figure(name=f"run of {rows:,} rows, beside {peer}", unit="requests/s", values=rates, peer=beside)
        ratios = [of_one.rate / of_one.peer(peer) for of_one in rounds]
        limit = at_least(1.5) if peer == "default" else None
        yield Figure(name=f"compared with {name}", unit="x", values=ratios, limit=limit)
    cpu = [of_one.large.cpu_ms(rows) for of_one in rounds]
    yield Figure(name="processor time of a request", unit="ms", values=cpu)
    growth = [of_one.large.max_rss_mib - of_one.small.max_rss_mib for of_one in rounds]
    yield Figure(name=f"memory above that of {SMALL:,} rows", unit="MiB", values=growth, limit=at_most(40))
    resumed = [usage for of_one in rounds for usage in of_one.resumed]
    seconds = [usage.seconds for usage in resumed]
    yield Figure(name="starting the finished run again", unit="s", values=seconds, limit=at_most(5))
    yield Figure(name="its memory then", unit="MiB", values=[usage.max_rss_mib for usage in resumed])


PART = Part(
    title="The main job as a whole process",
    about=f"`tunemill run` on the simulator without latency, {AT_ONCE} requests at once, the client pinned to "
    "one core; the bare loops make typed calls and keep nothing.",
    measure=measure,
)
