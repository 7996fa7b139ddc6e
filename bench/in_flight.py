"""Ten thousand requests in flight from one process: answers take 20 s, and 500 may leave a second.

The server's books say how many were in flight at most and how many came in each second, from which the evenness is
taken: the first second and the last are left out, as they are cut off.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.frame import Figure, Options, Part, at_least, at_most
from bench.recipes import grid_recipe
from bench.running import CLIENT_CORES, client_environment, run_command, started
from bench.servers import Simulator, fetch, simulator

LATENCY_S = 20
RATE = 500
IN_FLIGHT = LATENCY_S * RATE
FULL_S = 10  # so long nothing is different any more: as much comes back as leaves
EVEN = 0.1  # a second is even that has so much more or less than its share, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run, from both sides."""

    in_flight_max: int
    max_rss_mib: float
    cpu_ms: float
    refused: int
    arrivals: Sequence[int]

    @property
    def rate(self) -> float:
        """Requests a second, while there were any to send."""
        return statistics.mean(self.arrivals)

    @property
    def even(self) -> float:
        """Per cent of the seconds that had their share."""
        return 100 * sum(abs(each - RATE) <= EVEN * RATE for each in self.arrivals) / len(self.arrivals)

    @property
    def most(self) -> float:
        """The most that came in one second, in per cent of its share."""
        return 100 * max(self.arrivals) / RATE


def measure(options: Options) -> Iterator[Figure]:
    """About a minute a round."""
    rounds = [_round(options, options.folder / str(number)) for number in range(options.rounds)]
    in_flight = [float(each.in_flight_max) for each in rounds]
    # What the recipe allows cannot be reached quite: an answer that comes makes room, and then the next one leaves.
    yield Figure(name="requests in flight", unit="", values=in_flight, limit=at_least(0.99 * IN_FLIGHT))
    memory = [each.max_rss_mib for each in rounds]
    yield Figure(name="largest resident memory", unit="MiB", values=memory, limit=at_most(1024))
    yield Figure(name="arriving at the server", unit="requests/s", values=[each.rate for each in rounds])
    even = [each.even for each in rounds]
    yield Figure(name=f"seconds within {EVEN:.0%} of {RATE} requests", unit="%", values=even, limit=at_least(95))
    yield Figure(name="the fullest second, of its share", unit="%", values=[each.most for each in rounds])
    yield Figure(name="refused", unit="requests", values=[float(each.refused) for each in rounds])
    yield Figure(name="processor time of a request", unit="ms", values=[each.cpu_ms for each in rounds])


def _round(options: Options, folder: Path) -> Round:
    folder.mkdir()
    rows = IN_FLIGHT + RATE * options.size(FULL_S, FULL_S // 5)
    limits = f"requests_per_minute = {60 * RATE}\nconcurrency = {IN_FLIGHT}"
    recipe = grid_recipe(folder / "recipe.toml", rows=rows, limits=limits, max_tokens=20)
    arguments = ("--latency-s", str(LATENCY_S), "--output-tokens", "16")
    with simulator(*arguments) as server:
        command = run_command(recipe, folder / "run")
        environment = client_environment(server.base_url)
        with started(command, said=folder / "said", cores=CLIENT_CORES, environment=environment) as running:
            usage = running.wait()
        assert usage.exit_code == 0, running.stderr()
        return _seen(server, rows, cpu_ms=usage.cpu_ms(rows), max_rss_mib=usage.max_rss_mib)


def _seen(server: Simulator, rows: int, *, cpu_ms: float, max_rss_mib: float) -> Round:
    books = server.books()
    assert books["received"] - books["rate_limited"] == rows, "every request once"
    arrivals = json.loads(fetch(f"{server.root}/books/arrivals"))
    return Round(
        in_flight_max=books["in_flight_max"],
        max_rss_mib=max_rss_mib,
        cpu_ms=cpu_ms,
        refused=books["rate_limited"],
        arrivals=arrivals[1:-1],
    )


PART = Part(
    title="Ten thousand in flight",
    about=f"Answers take {LATENCY_S} s and {RATE} requests may leave a second: {IN_FLIGHT:,} are in flight; one "
    "process on one core, the simulator on the other.",
    measure=measure,
)
