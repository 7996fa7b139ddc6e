"""Outages: a provider that refuses, hangs or fails everything for a while, in simulated time.

What must hold: the circuit opens and is told, few requests go out meanwhile, sending is at full rate again within ten
seconds of recovery (or of one answer's time after the next probe, where answers are slow), nothing is lost, and nothing
is paid twice. A failing run names its parameters.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from random import Random

import pytest
from tests.engine.engine_support import MODEL, NO_HINTS, Luck, Sending, World, failure_of, rows, step
from tests.engine.test_simulations import expect_an_end
from tests.support.torture import seeds

from tunemill.engine import LaneLimits, RetryLimits, in_flight_most
from tunemill.engine.circuit import LATE_AFTER_S, PROBE_LATE_S, PROBE_MOST_S
from tunemill.engine.dispatcher import ROOM_BESIDE_CONCURRENCY
from tunemill.events import CircuitChanged, Failed
from tunemill.model import FailureKind, Reply, Request, RunState, Undelivered

K = FailureKind


class Outage(Enum):
    """How a provider can be out."""

    NOBODY_THERE = "connections are refused"
    OVERLOADED = "everything is answered with 503"
    SERVER_ERROR = "everything is answered with 500"
    GATEWAY = "a gateway answers with its own page"
    CUT = "connections are cut"
    HANGS = "requests are taken and never answered"
    HELD = "requests are taken and answered when it is over"


KINDS = {
    Outage.NOBODY_THERE: K.NOT_CONNECTED,
    Outage.OVERLOADED: K.OVERLOADED,
    Outage.SERVER_ERROR: K.SERVER_ERROR,
    Outage.GATEWAY: K.GATEWAY_ERROR,
    Outage.CUT: K.DISCONNECTED,
}


HANGING = {Outage.HANGS, Outage.HELD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """An outage of so many seconds, so many after the start, and what it comes upon."""

    kind: Outage
    concurrency: int
    latency_s: tuple[float, float]
    after_s: float = 30.0
    lasts_s: float = 120.0
    timeout_s: float = 120.0

    @property
    def recovery_s(self) -> float:
        """By when sending is to be at full rate again: where answers are slow, the next probe's has to come first."""
        probe_s = PROBE_MOST_S if self.lasts_s <= LATE_AFTER_S else PROBE_LATE_S
        return max(10.0, probe_s + self.latency_s[1] + 1.0)

    @property
    def is_noticed(self) -> bool:
        """One request at a time that takes twenty seconds anyway: two minutes may be a long answer."""
        return self.kind not in HANGING or self.concurrency > 1 or self.latency_s[1] < 10.0

    @property
    def rows(self) -> int:
        """Enough for the time before and for the time after in which it is looked."""
        rate = self.concurrency / sum(self.latency_s) * 2
        return int(rate * (self.after_s + self.recovery_s + SAMPLED_S + self.latency_s[1])) + 4 * self.concurrency + 100


SAMPLED_S = 8.0


class Weathered:
    """The provider under a weather. What hangs shares its fate with what was in flight when it began."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.clock = world.clock
        self.provider = world.provider
        self.weather = weather
        self.began = self.clock.monotonic() + weather.after_s
        self.ended = self.began + weather.lasts_s
        self.healthy = 0
        self.samples: list[int] = []
        for number in range(int(SAMPLED_S * 4)):
            at_s = weather.after_s + weather.lasts_s + weather.recovery_s + number / 4
            self.clock.call_later(at_s, lambda: self.samples.append(self.healthy))

    async def __call__(self, request: Request, timeout_s: float) -> Reply:
        sent_at = self.clock.monotonic()
        is_healthy = sent_at >= self.ended
        self.healthy += is_healthy
        try:
            if self.began <= sent_at < self.ended and self.weather.kind not in HANGING:
                return await self._fails(request, sent_at)
            reply = await self.provider(request, timeout_s)
            if not is_healthy and self.clock.monotonic() >= self.began and self.weather.kind in HANGING:
                return await self._hangs(reply, sent_at + timeout_s)
            return reply
        finally:
            self.healthy -= is_healthy

    async def _fails(self, request: Request, sent_at: float) -> Reply:
        self.provider.sendings.append(Sending(sent_at, request, ""))
        self.provider.times[request.id] += 1
        await self.clock.sleep(0.05)
        return Undelivered(failure=failure_of(KINDS[self.weather.kind]), hints=NO_HINTS)

    async def _hangs(self, reply: Reply, deadline: float) -> Reply:
        now = self.clock.monotonic()
        if self.weather.kind is Outage.HELD and self.ended <= deadline:
            await self.clock.sleep(self.ended - now + self.provider.random.uniform(0.0, 0.5))
            return reply
        await self.clock.sleep(deadline - now)
        return Undelivered(failure=failure_of(K.TIMEOUT), hints=NO_HINTS)


async def weathered(weather: Weather, seed: int = 0) -> tuple[World, Weathered]:
    """A run through a weather to its end."""
    limits = LaneLimits(
        requests_per_minute=None,
        tokens_per_minute=None,
        concurrency=weather.concurrency,
        timeout_s=weather.timeout_s,
    )
    world = World(seed, limits={MODEL: limits}, luck=Luck(latency_s=weather.latency_s), write_s=(0.0, 0.002))
    provider = Weathered(world, weather)
    source = rows(weather.rows)
    run = world.open(source, executor=provider).run()
    ending = await world.clock.run(run, each_turn=world.check_sums)
    assert ending.state is RunState.FINISHED
    assert world.heard(Failed) == []
    expect_an_end(world, source)
    return world, provider


def expect_recovery(world: World, provider: Weathered) -> None:
    """Told, quiet, and at full rate again in time; nothing is sent twice but what failed."""
    weather, slots = provider.weather, provider.weather.concurrency
    changes = [(event.is_open) for event in world.events if isinstance(event, CircuitChanged)]
    if weather.is_noticed:
        assert changes[:1] == [True]
        assert changes[-1] is False
        quiet_from = provider.began + weather.lasts_s * 0.7  # by then it must have been noticed
        during = [sending.at for sending in world.provider.sendings if quiet_from <= sending.at < provider.ended]
        assert 1 <= len(during) <= weather.lasts_s * 0.3 / PROBE_MOST_S + 2
        assert sum(provider.samples) / len(provider.samples) >= 0.85 * slots
    assert world.provider.most_in_flight <= in_flight_most(slots)
    failed = Counter(request for request, _ in world.journal.attempts_failed)
    assert all(times == failed[request] + 1 for request, times in world.provider.times.items())


QUICK, MEDIUM, SLOW = (0.5, 1.5), (2.0, 6.0), (15.0, 25.0)


@pytest.mark.parametrize("kind", Outage)
@pytest.mark.parametrize(
    ("concurrency", "latency_s"), [(1, QUICK), (1, SLOW), (4, MEDIUM), (4, SLOW), (12, QUICK), (16, SLOW)]
)
async def test_two_minutes_out_and_at_full_rate_ten_seconds_later(
    kind: Outage, concurrency: int, latency_s: tuple[float, float]
) -> None:
    """However it is out, with few and with many requests at once, with quick and with slow answers."""
    world, provider = await weathered(Weather(kind=kind, concurrency=concurrency, latency_s=latency_s))
    expect_recovery(world, provider)


@pytest.mark.torture
@pytest.mark.parametrize("seed", seeds(15, 60))
async def test_any_outage_is_survived(seed: int) -> None:
    """As above, for what is drawn from a seed: other lengths, latencies, deadlines and numbers of requests."""
    luck = Random(f"weather {seed}")
    quickest = luck.choice([0.2, 1.0, 2.0])
    weather = Weather(
        kind=luck.choice(list(Outage)),
        concurrency=luck.choice([6, 12, 24]),
        latency_s=(quickest, quickest * luck.choice([1.0, 2.0, 4.0])),
        lasts_s=luck.choice([90.0, 120.0, 300.0]),
        timeout_s=luck.choice([60.0, 120.0]),
    )
    world, provider = await weathered(weather, seed)
    expect_recovery(world, provider)


@pytest.mark.parametrize("kind", [Outage.NOBODY_THERE, Outage.OVERLOADED, Outage.SERVER_ERROR, Outage.HANGS])
@pytest.mark.parametrize("concurrency", [1, 16])
async def test_out_from_the_very_start(kind: Outage, concurrency: int) -> None:
    """It is told within seconds (a hang: within three deadlines) what is waited for; nothing fails; it goes on."""
    timeout_s = 20.0
    weather = Weather(
        kind=kind, concurrency=concurrency, latency_s=(0.5, 1.5), after_s=0.0, lasts_s=90.0, timeout_s=timeout_s
    )
    limits = LaneLimits(
        requests_per_minute=None, tokens_per_minute=None, concurrency=concurrency, timeout_s=weather.timeout_s
    )
    world = World(limits={MODEL: limits}, luck=Luck(latency_s=weather.latency_s))
    provider = Weathered(world, weather)
    told: list[float] = []
    said: list[dict[str, int]] = []

    def look() -> None:
        world.check_sums()
        opened = world.heard(CircuitChanged)
        if opened and not told:
            told.append(world.clock.monotonic() - provider.began)
            world.clock.call_later(5.0, lambda: said.append(world.dispatcher.waiting_for()))

    run = world.open(rows(60), executor=provider).run()
    assert (await world.clock.run(run, each_turn=look)).state is RunState.FINISHED
    assert told[0] <= (3 * timeout_s + 5.0 if kind is Outage.HANGS else 6.0)
    assert said[0]["outage"] >= 40
    first = world.heard(CircuitChanged)[0]
    assert isinstance(first, CircuitChanged)
    assert first.reason == (K.TIMEOUT if kind is Outage.HANGS else KINDS[kind]).value


@pytest.mark.parametrize("kind", [Outage.NOBODY_THERE, Outage.GATEWAY, Outage.HANGS])
@pytest.mark.parametrize("after_s", [0.0, 30.0])
async def test_out_for_too_long(kind: Outage, after_s: float) -> None:
    """After outage_max_s the run ends, with the sentence for it and nothing failed; probes were few; it can go on."""
    world = World(luck=Luck(latency_s=(0.5, 1.5)), retry=RetryLimits(attempts_max=6, outage_max_s=600.0))
    weather = Weather(kind=kind, concurrency=16, latency_s=(0.5, 1.5), after_s=after_s, lasts_s=1e6)
    provider = Weathered(world, weather)
    source = rows(600)
    ending = await world.clock.run(world.open(source, executor=provider).run(), each_turn=world.check_sums)
    assert ending.state is RunState.REFUSED
    assert "outage_max_s = 600" in ending.reason
    assert 600 <= world.clock.monotonic() - provider.began <= 600 + 30.0 + 10.0  # the grace, for what hangs
    assert world.journal.failures == []
    assert not world.journal.unresolved
    during = [sending for sending in world.provider.sendings if sending.at >= provider.began]
    assert len(during) <= 16 + ROOM_BESIDE_CONCURRENCY + 600 / PROBE_MOST_S
    await world.run(source)
    expect_an_end(world, source)


@pytest.mark.parametrize("kind", [K.SERVER_ERROR, K.DISCONNECTED, K.BAD_REPLY, K.TIMEOUT])
@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_a_few_poisonous_rows_at_the_end_are_no_outage(kind: FailureKind, concurrency: int) -> None:
    """Each fails whatever is done: they are set aside after attempts_max, the others are complete, and soon."""
    limits = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=concurrency, timeout_s=60.0)
    world = World(
        limits={MODEL: limits}, luck=Luck(latency_s=(0.5, 1.5)), retry=RetryLimits(attempts_max=4, outage_max_s=1800.0)
    )
    source = rows(60)
    bad = {row.id for row in source[-5:]}
    world.provider.script = lambda request, times: failure_of(kind) if request.row_id in bad else None
    began = world.clock.monotonic()
    assert (await world.run(source)).state is RunState.FINISHED_WITH_FAILURES
    expect_an_end(world, source)
    assert world.dispatcher.counts.completed == 55
    assert [(of_kind, attempts) for _, of_kind, attempts in world.journal.failures] == [(kind, 4)] * 5
    slow = 5 * 4 * 60.0 / min(concurrency, 5) if kind is K.TIMEOUT else 0.0
    assert world.clock.monotonic() - began <= 60 / concurrency * 1.5 + slow + 60.0


@pytest.mark.parametrize("seed", range(6))
async def test_slow_answers_are_no_outage(seed: int) -> None:
    """A step that writes a word, then one that writes for a minute; answers of very different lengths: no circuit."""
    luck = Random(f"slow {seed}")
    steps = [step("short"), step("long")]
    limits = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=8, timeout_s=600.0)
    world = World(seed, steps=steps, limits={MODEL: limits}, write_s=(0.0, 0.0))

    async def writes(request: Request, timeout_s: float) -> Reply:
        world.provider.luck = Luck(latency_s=(0.5, 1.0) if request.step == "short" else (20.0, 60.0))
        if luck.random() < 0.05:
            world.provider.luck = Luck(latency_s=(5.0, 9.0) if request.step == "short" else (60.0, 150.0))
        return await world.provider(request, timeout_s)

    await world.clock.run(world.open(rows(80), executor=writes).run(), each_turn=world.check_sums)
    assert world.heard(CircuitChanged) == []
    assert world.provider.most_in_flight <= 10  # one or two that took far longer than the others before them


@pytest.mark.parametrize("share", [0.1, 0.4])
@pytest.mark.parametrize("latency_s", [(0.2, 0.4), (15.0, 25.0)])
async def test_many_failures_among_answers_are_no_outage(share: float, latency_s: tuple[float, float]) -> None:
    """Failures come at once and answers take their time: while answers are under way nothing is known."""
    limits = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=64, timeout_s=60.0)
    world = World(7, limits={MODEL: limits}, retry=RetryLimits(attempts_max=50, outage_max_s=60.0))

    async def fails(request: Request, timeout_s: float) -> Reply:
        if world.random.random() < share:
            await world.clock.sleep(0.05)
            return Undelivered(failure=failure_of(K.OVERLOADED), hints=NO_HINTS)
        world.provider.luck = Luck(latency_s=latency_s)
        return await world.provider(request, timeout_s)

    ending = await world.clock.run(world.open(rows(400), executor=fails).run(), each_turn=world.check_sums)
    assert ending.state is RunState.FINISHED
    opened = [event for event in world.events if isinstance(event, CircuitChanged) and event.is_open]
    assert len(opened) <= (0 if share < 0.2 else 8)  # near the end, three that fail are all that is left


async def test_requests_that_hang_do_not_hold_the_others() -> None:
    """One in twenty hangs until its deadline of two minutes: sending goes on at nearly the full rate all the same."""
    limits = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=16, timeout_s=120.0)
    took = {}
    for share in (0.0, 0.05):
        world = World(3, limits={MODEL: limits}, luck=Luck(latency_s=(0.5, 1.5), faults={K.TIMEOUT: share}))
        began = world.clock.monotonic()
        assert (await world.run(rows(500))).state is RunState.FINISHED
        done = sorted(sending.at for sending in world.provider.sendings)
        took[share] = done[450] - began
        assert world.provider.most_in_flight <= in_flight_most(16)
    assert took[0.05] <= 1.5 * took[0.0]


async def test_attempts_that_failed_before_an_outage_was_told_are_forgiven() -> None:
    """With few attempts allowed: while it is not known what it is nobody tries again, and then it does not count."""
    limits = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=16, timeout_s=120.0)
    for kind in (Outage.SERVER_ERROR, Outage.CUT, Outage.OVERLOADED):
        weather = Weather(kind=kind, concurrency=16, latency_s=(0.5, 1.0), after_s=10.0)
        world = World(
            limits={MODEL: limits},
            luck=Luck(latency_s=weather.latency_s),
            retry=RetryLimits(attempts_max=2, outage_max_s=1800.0),
        )
        provider = Weathered(world, weather)
        run = world.open(rows(330), executor=provider).run()
        assert (await world.clock.run(run, each_turn=world.check_sums)).state is RunState.FINISHED


async def test_the_end_of_a_pause_of_our_own_does_not_outlast_the_outage() -> None:
    """What waited for a minute because it had failed often is sent as soon as somebody is answered."""
    weather = Weather(kind=Outage.SERVER_ERROR, concurrency=16, latency_s=(0.5, 1.5), after_s=0.0, lasts_s=600.0)
    world = World(luck=Luck(latency_s=weather.latency_s), retry=RetryLimits(attempts_max=50, outage_max_s=1800.0))
    provider = Weathered(world, weather)
    run = world.open(rows(30), executor=provider).run()
    assert (await world.clock.run(run, each_turn=world.check_sums)).state is RunState.FINISHED
    assert world.clock.monotonic() <= provider.ended + PROBE_LATE_S + 10.0
