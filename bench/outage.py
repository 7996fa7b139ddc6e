"""Outages: how soon a run is at full rate again, what went out meanwhile, what was lost and what was paid twice.

Four ways to be out, each in the middle of a run: the server answers 503 to everything; it takes requests and answers
none; its process is stopped, so that the kernel takes connections and nobody reads them; it is gone, and another one
comes back on its port. All figures are the servers' own books'.
"""

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.frame import Figure, Options, Part, at_most, one
from bench.recipes import grid_recipe
from bench.running import Running, client_environment, run_command, started, status
from bench.servers import Simulator, fetch, simulator

OUTAGE_S = (120, 15)  # in the full form, and in the quick one
CONCURRENCY = 32
LATENCY_S = 0.5
BEFORE_S = 10.0
AFTER_S = 20.0
WINDOW_S = 2.0  # over which a rate is taken
FULL = 0.9  # of the rate before
SAMPLE_S = 0.25
DEADLINE_S = 120  # as everybody has it who says nothing, and as long as the longest of them lasts


@dataclass(slots=True, kw_only=True)
class World:
    """The server of the moment, which may be another one later, and what has been seen of all of them."""

    server: Simulator
    stack: contextlib.ExitStack
    arguments: tuple[str, ...]
    delivered_before: int = 0
    received_before: int = 0
    twice_before: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)

    def received(self) -> int:
        """By all servers."""
        return self.received_before + self.server.received()

    def twice(self) -> int:
        """Requests that were billed more than once, by one server."""
        return self.twice_before + len(fetch(f"{self.server.root}/books/requests?billed_min=2").splitlines())

    def sample(self) -> None:
        """Look how many answers were delivered by now."""
        self.samples.append((time.monotonic(), self.delivered_before + int(self.server.books()["delivered"])))

    def rate(self, begin: float) -> float:
        """Answers a second in the window that begins then, as far as it was seen."""
        seen = [(at, count) for at, count in self.samples if begin <= at <= begin + WINDOW_S + SAMPLE_S]
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]) if len(seen) > 1 else 0.0


Ending = Callable[[], None]


def _switched(world: World, key: str) -> Ending:
    def switch(is_on: bool) -> None:
        body = json.dumps({key: is_on}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{world.server.root}/control", body), timeout=30):
            pass

    switch(True)
    return lambda: switch(False)


def _stopped(world: World) -> Ending:
    os.kill(world.server.pid, signal.SIGSTOP)
    return lambda: os.kill(world.server.pid, signal.SIGCONT)


def _gone(world: World) -> Ending:
    world.twice_before, world.received_before = world.twice(), world.received()
    world.delivered_before += int(world.server.books()["delivered"])
    port = world.server.base_url.removesuffix("/v1").rpartition(":")[2]
    world.stack.close()

    def back() -> None:
        world.server = world.stack.enter_context(simulator("--port", port, *world.arguments))

    return back


KINDS: dict[str, Callable[[World], Ending]] = {
    "503 to everything": lambda world: _switched(world, "refusing"),
    "takes, answers none": lambda world: _switched(world, "paused"),
    "process stopped": _stopped,
    "gone, then back": _gone,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one outage. `resumed_s` is from the end of it to the begin of the first window at full rate."""

    resumed_s: float
    sent_meanwhile: int
    missing: int
    billed_twice: int


def outage(kind: str, options: Options, *, lasts_s: float, number: int = 0) -> Outcome:
    """A run through one outage, to its end. Raises ProcessFailed where the run does not end well."""
    rate = CONCURRENCY / LATENCY_S
    rows = int(rate * (BEFORE_S + AFTER_S))
    folder = options.folder / f"{number}-{list(KINDS).index(kind)}"
    folder.mkdir()
    limits = f"requests_per_minute = {60 * 10 * rate:g}\nconcurrency = {CONCURRENCY}\ntimeout_s = {DEADLINE_S}"
    recipe = grid_recipe(folder / "recipe.toml", rows=rows, limits=limits)
    arguments = ("--latency-s", str(LATENCY_S))
    with contextlib.ExitStack() as servers:
        world = World(server=servers.enter_context(simulator(*arguments)), stack=servers, arguments=arguments)
        command = run_command(recipe, folder / "run")
        environment = client_environment(world.server.base_url)
        with started(command, said=folder / "said", environment=environment) as running:
            outcome = _through(world, running, KINDS[kind], lasts_s)
            usage = running.wait()
        assert usage.exit_code == 0, running.stderr()
        counts = status(folder / "run")["requests"]
        assert isinstance(counts, dict)
        return Outcome(
            resumed_s=outcome[0],
            sent_meanwhile=outcome[1],
            missing=rows - int(counts["completed"]),
            billed_twice=world.twice(),
        )


def _through(world: World, running: Running, begin: Callable[[World], Ending], lasts_s: float) -> tuple[float, int]:
    """Before, during and after; gives the seconds to full rate (all that was looked, where it was not reached) and how
    many requests came in meanwhile."""
    while world.server.received() == 0 and not running.ended:
        time.sleep(SAMPLE_S)
    _watch(world, BEFORE_S, running)
    before = world.rate(world.samples[-1][0] - WINDOW_S - SAMPLE_S)
    received = world.received()
    end = begin(world)
    time.sleep(lasts_s)
    end()
    ended = time.monotonic()
    meanwhile = world.received() - received
    _watch(world, AFTER_S, running)
    full = [at for at, _ in world.samples if at >= ended and world.rate(at) >= FULL * before]
    return (full[0] - ended if full else AFTER_S), meanwhile


def _watch(world: World, seconds: float, running: Running) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not running.ended:
        world.sample()
        time.sleep(SAMPLE_S)


def measure(options: Options) -> Iterator[Figure]:
    """All kinds; of several rounds the first is enough, as nothing here is a matter of speed."""
    lasts_s = options.size(*OUTAGE_S)
    for kind in KINDS:
        outcome = outage(kind, options, lasts_s=lasts_s)
        said = f"out for {lasts_s:g} s; {outcome.sent_meanwhile} requests came in meanwhile"
        yield one(f"{kind}: full rate again after", outcome.resumed_s, "s", at_most(10), note=said)
        yield one(f"{kind}: rows missing", outcome.missing, "rows", at_most(0))
        yield one(f"{kind}: requests billed twice", outcome.billed_twice, "requests", at_most(0))


PART = Part(
    title="Outages",
    about=(
        f"A run with {CONCURRENCY} requests at once and answers after {LATENCY_S:g} s, whose server is out in the "
        f"middle of it. The deadline of a request is {DEADLINE_S} s, as by default. Full rate is {FULL:.0%} of the "
        f"rate before, over {WINDOW_S:g} s, as the server counts answers."
    ),
    measure=measure,
)
