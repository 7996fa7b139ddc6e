"""Simulated hours with every fault, many times over, each from its own seed: what must hold always does.

A failing run names its seed: `run_of(seed)` is that run again.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from tests.engine.engine_support import FREE, MODEL, OTHER, Luck, World, failure_of, row_of, rows, step, worst
from tests.support.recorder import State
from tests.support.torture import seeds

from tunemill.engine import LaneLimits, RetryLimits
from tunemill.engine.dispatcher import ROOM_BESIDE_CONCURRENCY
from tunemill.events import Completed, Failed, Sent
from tunemill.model import FailureKind, Reply, Request, Row, RunState

K = FailureKind
FAULTS = [
    K.RATE_LIMITED,
    K.OVERLOADED,
    K.SERVER_ERROR,
    K.GATEWAY_ERROR,
    K.TIMEOUT,
    K.NOT_CONNECTED,
    K.DISCONNECTED,
    K.BAD_REPLY,
    K.BAD_REQUEST,
]
ENOUGH = 10**15


def world_of(seed: int, *, cap: int | None = None) -> tuple[World, list[Row]]:
    """Steps, rows, limits and luck, all from the seed."""
    luck = Random(f"world {seed}")
    steps = [
        step(f"step{number}", luck.choice([1, 1, 2, 3]), luck.choice([MODEL, OTHER]))
        for number in range(luck.choice([1, 1, 2, 3]))
    ]
    limits = {
        lane: LaneLimits(
            requests_per_minute=luck.choice([None, 60.0, 600.0]),
            tokens_per_minute=luck.choice([None, 20_000.0]),
            concurrency=luck.choice([1, 4, 32]),
            timeout_s=luck.choice([5.0, 60.0]),
        )
        for lane in (MODEL, OTHER)
    }
    much = luck.choice([0.0, 0.1, 0.4])
    world = World(
        seed,
        steps=steps,
        limits=limits,
        luck=Luck(
            faults={kind: luck.random() * much / len(FAULTS) * 2 for kind in FAULTS},
            latency_s=luck.choice([(0.0, 0.1), (0.2, 3.0), (1.0, 30.0)]),
            no_usage=luck.choice([0.0, 0.1]),
            useless=luck.choice([0.0, 0.1]),
        ),
        cap=cap,
    )
    return world, _rows_of(luck)


def _rows_of(luck: Random) -> list[Row]:
    """Rows, some of them twice, some with the same prompt as others, some that cannot be rendered."""
    listed = rows(luck.randint(1, 25))
    listed += [luck.choice(listed) for _ in range(luck.choice([0, 3]))]
    listed += [row_of({"text": f"twin {number}", "prompt": "the same"}) for number in range(luck.choice([0, 3]))]
    listed += [row_of({"text": str(number), "prompt": "unrenderable"}) for number in range(luck.choice([0, 1]))]
    luck.shuffle(listed)
    return listed


def expect_an_end(world: World, source: list[Row]) -> None:
    """Every place is completed or failed, once, and the counts say so."""
    counts = world.dispatcher.counts
    states = Counter(world.journal.state_at(*place) for place in world.places(source))
    assert counts.waiting == counts.in_flight == 0
    assert states == {state: count for state, count in _ends(counts.completed, counts.failed) if count}
    assert counts.planned == sum(states.values())
    assert counts.duplicate_rows == len(source) - len({row.id for row in source})
    assert world.budget.reserved == 0
    assert not world.journal.unresolved
    assert not world.dispatcher._places.pending
    assert world.dispatcher._places.count == 0
    once = Counter(event.request_id for event in world.heard(Completed) if isinstance(event, Completed))
    assert set(once.values()) <= {1}


def _ends(completed: int, failed: int) -> Iterator[tuple[State, int]]:
    yield State.COMPLETED, completed
    yield State.FAILED, failed


@pytest.mark.parametrize("seed", seeds(30, 100))
async def test_every_run_ends_with_every_place_accounted_for(seed: int) -> None:
    """Faults of every kind, twins, duplicates, samples, chains, two models: all is answered or named, nothing twice."""
    world, source = world_of(seed)
    ending = await world.run(source)
    expect_an_end(world, source)
    failed = world.dispatcher.counts.failed
    assert ending.state is (RunState.FINISHED_WITH_FAILURES if failed else RunState.FINISHED)
    assert world.provider.billed <= world.budget.settled + world.budget.uncertain


@pytest.mark.parametrize("seed", seeds(20, 60))
async def test_the_cap_holds_against_books_outside_and_is_used(seed: int) -> None:
    """Whatever fails, what the provider billed stays below the cap; the run ends there; more money finishes it."""
    world, source = world_of(seed)
    await world.run(source)
    whole = world.budget.settled + world.budget.uncertain
    again, source = world_of(seed, cap=whole // 2)
    ending = await again.run(source)
    assert again.provider.billed <= again.budget.settled + again.budget.uncertain <= whole // 2
    if ending.state is RunState.BUDGET_REACHED:
        largest = max(worst(sending.request) for sending in again.provider.sendings) if again.provider.sendings else 0
        assert again.dispatcher.counts.waiting > 0
        assert again.dispatcher.counts.in_flight == 0
        if largest:  # what is left would not have paid for one more like these (a later step's may be larger)
            assert whole // 2 - again.budget.committed < 3 * largest
    again.cap = ENOUGH
    await again.run(source)
    expect_an_end(again, source)


@pytest.mark.parametrize("seed", seeds(20, 60))
async def test_killed_at_any_moment_and_again_the_run_is_finished(seed: int) -> None:
    """No clean-up at all, several times: the next process finishes; only what was in flight is sent once more."""
    world, source = world_of(seed)
    luck = Random(f"kills {seed}")
    lost: Counter[str] = Counter()
    for _ in range(luck.randint(1, 4)):
        await _killed_after(world, source, luck.expovariate(1 / 20))
        lost.update(world.journal.unresolved.keys())
    await world.run(source)
    expect_an_end(world, source)
    failed = Counter(request for request, _ in world.journal.attempts_failed)
    ended = Counter(request for request, known in world.journal.requests.items() if known.attempts)
    for request, times in world.provider.times.items():
        assert times <= failed[request] + ended[request], "sent more often than it failed, was cut off or ended"
    assert world.provider.billed <= world.budget.settled + world.budget.uncertain


async def _killed_after(world: World, source: list[Row], seconds: float) -> None:
    async def killed() -> None:
        run = asyncio.create_task(world.open(source).run())
        await asyncio.wait([run, asyncio.create_task(world.clock.sleep(seconds))], return_when=asyncio.FIRST_COMPLETED)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    await world.clock.run(killed())


@pytest.mark.parametrize("seed", seeds(20, 60))
async def test_drained_and_aborted_at_any_moment(seed: int) -> None:
    """Drain sends nothing more and keeps what arrives; abort cuts the rest, in doubt; the next process finishes."""
    luck = Random(f"stops {seed}")
    world, source = world_of(seed)
    world._retry = RetryLimits(attempts_max=luck.choice([1, 6]), outage_max_s=1800.0)
    world._write_s = luck.choice([(0.0, 0.02), (0.1, 1.0)])
    is_aborted = luck.random() < 0.5

    async def stopped() -> RunState:
        dispatcher = world.open(source)
        run = asyncio.create_task(dispatcher.run())
        await asyncio.wait(
            [run, asyncio.create_task(world.clock.sleep(luck.expovariate(1 / 10)))], return_when="FIRST_COMPLETED"
        )
        before, in_flight = len(world.provider.sendings), world.provider.in_flight
        dispatcher.drain("stopped")
        if is_aborted:
            dispatcher.abort()
        began = world.clock.monotonic()
        ending = await run
        assert len(world.provider.sendings) == before, "something left after the drain"
        assert world.clock.monotonic() - began <= (3.0 if is_aborted else 33.0)
        assert in_flight == 0 or ending.state is not RunState.FINISHED
        return ending.state

    state = await world.clock.run(stopped())
    assert state in {RunState.INTERRUPTED, RunState.FINISHED, RunState.FINISHED_WITH_FAILURES}
    assert not world.journal.unresolved, "an attempt without an outcome, although nobody was killed"
    assert world.budget.reserved == 0
    world.check()
    assert all(kind is not K.INTERRUPTED for _, kind, _ in world.journal.failures), "given up for being stopped"
    await world.run(source)
    expect_an_end(world, source)


async def test_simulated_hours_take_the_time_that_the_limit_allows() -> None:
    """600 rows at 60 a minute: ten minutes, and hardly more, with nothing above the limit in any minute."""
    limits = {MODEL: LaneLimits(requests_per_minute=60.0, tokens_per_minute=None, concurrency=64, timeout_s=60.0)}
    world = World(limits=limits)
    began = world.clock.monotonic()
    assert (await world.run(rows(600))).state is RunState.FINISHED
    assert 590 <= world.clock.monotonic() - began <= 615
    times = [sending.at for sending in world.provider.sendings]
    for at in times:
        assert sum(at <= other < at + 60 for other in times) <= 62


async def test_pending_memory_does_not_depend_on_the_number_of_rows() -> None:
    """Rows are walked only as far as there is room, also where all of them ask for the same."""
    for source in (rows(3000), [row_of({"text": str(number), "prompt": "the same"}) for number in range(3000)]):
        world = World(luck=Luck(latency_s=(0.1, 0.2)))
        await world.run(source)
        assert world.most_pending <= FREE.concurrency + ROOM_BESIDE_CONCURRENCY
        assert world.dispatcher.counts.completed == 3000


async def test_twins_are_sent_once_and_serve_every_place() -> None:
    """Rows whose requests are the same, byte for byte, share one answer, and what follows from it."""
    steps = [step("plot"), step("scene")]
    source = [row_of({"text": str(number), "prompt": "the same"}) for number in range(40)]
    world = World(steps=steps)
    await world.run(source)
    assert len(world.provider.sendings) == 2
    assert world.dispatcher.counts.completed == 80


async def test_samples_fan_out_along_the_chain() -> None:
    """2 x 3 x 2: a row asks for 2, 6 and 12 answers, each reading the sample that it belongs to."""
    steps = [step("a", 2), step("b", 3), step("c", 2)]
    world = World(steps=steps)
    await world.run(rows(5))
    sent = Counter(sending.request.step for sending in world.provider.sendings)
    assert sent == {"a": 10, "b": 30, "c": 60}
    assert world.dispatcher.counts.completed_by_step == {"a": 10, "b": 30, "c": 60}
    parents = {sending.request.sample // 3 for sending in world.provider.sendings if sending.request.step == "b"}
    assert parents == {0, 1}


async def test_a_later_step_waits_for_its_own_input_and_for_no_other() -> None:
    """One row's first answer takes an hour; the others are through both steps long before."""
    world = World(steps=[step("a"), step("b")], luck=Luck(latency_s=(1.0, 1.0)))
    slow = rows(1)[0].id
    limits = {MODEL: LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=8, timeout_s=3600.0)}
    world._limits = limits
    world.provider.script = lambda request, times: (
        failure_of(K.TIMEOUT) if request.row_id == slow and request.step == "a" and times == 1 else None
    )
    began = world.clock.monotonic()
    await world.run(rows(30))
    done = [event for event in world.events if isinstance(event, Completed)]
    assert [event.row_id for event in done[-2:]] == [slow, slow]
    second = [sending.at - began for sending in world.provider.sendings if sending.request.step == "b"]
    assert second[-1] > 3600
    assert all(at < 20 for at in second[:-1])
    answered: set[str] = set()
    for event in world.events:
        if isinstance(event, Completed) and event.step == "a":
            answered.add(event.row_id)
        elif isinstance(event, Sent) and event.step == "b":
            assert event.row_id in answered


async def test_a_model_that_waits_holds_up_no_other() -> None:
    """One model is told to wait for ten minutes; the other's requests go on at once."""
    steps = [step("a", lane=MODEL), step("b", lane=OTHER)]
    world = World(steps=steps, luck=Luck(latency_s=(1.0, 1.0)))
    world.provider.script = lambda request, times: (
        failure_of(K.RATE_LIMITED, retry_after_s=600.0) if request.lane == OTHER and times == 1 else None
    )
    began = world.clock.monotonic()
    await world.run(rows(60))
    first = [sending.at - began for sending in world.provider.sendings if sending.request.lane == MODEL]
    second = [sending.at - began for sending in world.provider.sendings if sending.request.lane == OTHER]
    assert first[-1] < 30
    assert second[-1] > 600


async def test_a_request_too_large_for_the_token_limit_is_set_aside() -> None:
    """It would never leave; the others do."""
    limits = {MODEL: LaneLimits(requests_per_minute=None, tokens_per_minute=2000.0, concurrency=8, timeout_s=60.0)}
    world = World(limits=limits)
    large = row_of({"text": "x" * 20_000})
    ending = await world.run([*rows(5), large])
    assert ending.state is RunState.FINISHED_WITH_FAILURES
    failed = [event for event in world.events if isinstance(event, Failed)]
    assert [(event.row_id, event.kind, event.attempts) for event in failed] == [(large.id, K.TOO_LARGE, 0)]
    assert "tokens_per_minute" in failed[0].message
    assert world.dispatcher.counts.completed == 5


async def test_a_row_that_fails_harms_no_other_and_names_what_it_takes_with_it() -> None:
    """Its later steps fail because of it, each named; every other row is complete."""
    world = World(steps=[step("a"), step("b", 2), step("c")])
    bad = rows(10)[3].id
    world.provider.script = lambda request, times: failure_of(K.BAD_REQUEST) if request.row_id == bad else None
    ending = await world.run(rows(10))
    assert ending.state is RunState.FINISHED_WITH_FAILURES
    kinds = Counter(event.kind for event in world.events if isinstance(event, Failed))
    assert kinds == {K.BAD_REQUEST: 1, K.UPSTREAM_FAILED: 4}
    assert world.dispatcher.counts.completed == 9 * 5


@pytest.mark.parametrize("attempts_max", [1, 3])
async def test_attempts_are_counted_out(attempts_max: int) -> None:
    """A request that fails again and again is sent so often and then set aside; 429s in between do not count."""
    world = World(retry=RetryLimits(attempts_max=attempts_max, outage_max_s=1800.0))
    bad = rows(9)[5].id
    world.provider.script = lambda request, times: (
        (failure_of(K.RATE_LIMITED) if times % 2 else failure_of(K.SERVER_ERROR)) if request.row_id == bad else None
    )
    await world.run(rows(9))
    sent = sum(sending.request.row_id == bad for sending in world.provider.sendings)
    assert sent == 2 * attempts_max
    assert world.journal.failures == [(world.journal.failures[0][0], K.SERVER_ERROR, 2 * attempts_max)]


@pytest.mark.parametrize("kind", [K.BAD_KEY, K.QUOTA_EXHAUSTED, K.MODEL_UNKNOWN])
@pytest.mark.parametrize("write_s", [(0.0, 0.0), (0.5, 2.0)])
async def test_what_dooms_all_stops_at_once_and_can_be_resumed(kind: FailureKind, write_s: tuple[float, float]) -> None:
    """After the first refusal nothing more leaves, also while a slow disk writes it down; the next process finishes."""
    limits = {MODEL: LaneLimits(requests_per_minute=600.0, tokens_per_minute=None, concurrency=64, timeout_s=60.0)}
    world = World(luck=Luck(latency_s=(1.0, 1.0)), write_s=write_s, limits=limits)
    world.provider.script = lambda request, times: failure_of(kind, message="no more")
    ending = await world.run(rows(500))
    assert ending.state is RunState.REFUSED
    assert ending.reason == "no more"
    assert 1 < len(world.provider.sendings) <= 14
    first_refusal = world.provider.sendings[0].at + 1.0
    assert all(sending.at <= first_refusal for sending in world.provider.sendings)
    assert world.journal.failures == []
    world.provider.script = lambda request, times: None
    await world.run(rows(500))
    expect_an_end(world, rows(500))


async def test_twenty_bad_requests_and_no_answer_mean_the_recipe_is_wrong() -> None:
    """The run stops instead of failing every row; one answer in between and it does not."""
    world = World()
    world.provider.script = lambda request, times: failure_of(K.BAD_REQUEST, message="temperature is too high")
    ending = await world.run(rows(500))
    assert ending.state is RunState.REFUSED
    assert "temperature is too high" in ending.reason
    assert len(world.provider.sendings) <= 20 + FREE.concurrency
    world = World(luck=Luck(latency_s=(1.0, 1.0)))
    good = rows(1)[0].id
    world.provider.script = lambda request, times: failure_of(K.BAD_REQUEST) if request.row_id != good else None
    ending = await world.run(rows(100))
    assert ending.state is RunState.FINISHED_WITH_FAILURES
    assert world.dispatcher.counts.failed == 99


@pytest.mark.parametrize("kind", [K.NOT_CONNECTED, K.SERVER_ERROR, K.OVERLOADED, K.GATEWAY_ERROR, K.TIMEOUT])
async def test_an_outage_of_two_minutes_is_waited_out(kind: FailureKind) -> None:
    """The circuit opens, a few probes go out, nobody's attempts are used up, and the run goes on by itself."""
    limits = {MODEL: LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=32, timeout_s=4.0)}
    world = World(limits=limits, luck=Luck(latency_s=(0.5, 1.5)))
    began = world.clock.monotonic() + 20
    ended = began + 120
    world.provider.script = lambda request, times: (
        failure_of(kind) if began <= world.clock.monotonic() < ended else None
    )
    ending = await world.run(rows(1500))
    assert ending.state is RunState.FINISHED
    during = [sending.at for sending in world.provider.sendings if began + 30 <= sending.at < ended]
    assert 3 <= len(during) <= 30
    after = [sending.at for sending in world.provider.sendings if sending.at >= ended]
    assert after[0] <= ended + 15  # the last probe before may time out
    assert not any(world.dispatcher.circuits.values())


async def test_an_outage_that_does_not_end_ends_the_run() -> None:
    """After outage_max_s the run stops, says so, has failed no row for it, and can be resumed."""
    world = World(retry=RetryLimits(attempts_max=6, outage_max_s=600.0))
    world.provider.script = lambda request, times: failure_of(K.NOT_CONNECTED, message="nobody there")
    began = world.clock.monotonic()
    ending = await world.run(rows(300))
    assert ending.state is RunState.REFUSED
    assert "nobody there" in ending.reason
    assert 590 <= world.clock.monotonic() - began <= 660
    assert world.journal.failures == []
    assert len(world.provider.sendings) < 400
    world.provider.script = lambda request, times: None
    await world.run(rows(300))
    expect_an_end(world, rows(300))


async def test_a_model_that_had_nothing_to_do_is_not_out() -> None:
    """An hour of waiting for the step before is no hour of outage: a first burst of failures stops nothing."""
    steps = [step("a", lane=MODEL), step("b", 40, lane=OTHER)]
    limits = {
        MODEL: LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=1, timeout_s=9000.0),
        OTHER: FREE,
    }
    world = World(steps=steps, limits=limits, luck=Luck(latency_s=(0.1, 0.1)))
    world.provider.script = lambda request, times: (
        failure_of(K.TIMEOUT)
        if request.lane == MODEL and times == 1
        else failure_of(K.SERVER_ERROR)
        if request.lane == OTHER and times == 1
        else None
    )
    ending = await world.run(rows(1))
    assert ending.state is RunState.FINISHED


async def test_one_request_that_is_refused_for_ever_harms_no_other() -> None:
    """A provider that answers 429 to one request (larger than its limit) and serves the rest: that one is set aside."""
    world = World(retry=RetryLimits(attempts_max=3, outage_max_s=120.0), luck=Luck(latency_s=(5.0, 10.0)))
    bad = rows(400)[7].id
    world.provider.script = lambda request, times: failure_of(K.RATE_LIMITED) if request.row_id == bad else None
    ending = await world.run(rows(400))
    assert ending.state is RunState.FINISHED_WITH_FAILURES
    assert [kind for _, kind, _ in world.journal.failures] == [K.RATE_LIMITED]
    assert world.dispatcher.counts.completed == 399


@pytest.mark.parametrize("retry_after_s", [None, 0.0])
async def test_refusals_make_no_storm(retry_after_s: float | None) -> None:
    """Ten minutes of nothing but 429: refused requests wait longer and longer, and nobody's attempts are used up."""
    world = World(luck=Luck(latency_s=(0.01, 0.05)), retry=RetryLimits(attempts_max=2, outage_max_s=1800.0))
    ended = world.clock.monotonic() + 600
    world.provider.script = lambda request, times: (
        failure_of(K.RATE_LIMITED, retry_after_s=retry_after_s) if world.clock.monotonic() < ended else None
    )
    ending = await world.run(rows(200))
    assert ending.state is RunState.FINISHED
    refused = [sending.at for sending in world.provider.sendings if sending.at < ended]
    assert len(refused) <= 200 * 15
    assert max(Counter(int(at) for at in refused[500:]).values(), default=0) <= 60


async def test_retry_failed_tries_each_once_more() -> None:
    """What failed in an earlier process is sent again, once, also where several rows ask for the same."""
    source = [*rows(30), *[row_of({"text": str(number), "prompt": "bad"}) for number in range(200)]]
    world = World(luck=Luck(latency_s=(0.1, 0.1)))
    world.provider.script = lambda request, times: failure_of(K.BAD_REQUEST) if b'"bad"' in request.body else None
    await world.run(source)
    assert world.dispatcher.counts.failed == 200
    sent = len(world.provider.sendings)
    await world.run(source)
    assert len(world.provider.sendings) == sent
    await world.run(source, retry_failed=True)
    assert len(world.provider.sendings) == sent + 1
    assert world.dispatcher.counts.failed == 200


async def test_nothing_is_sent_for_a_finished_run() -> None:
    """Running it again walks the rows and ends."""
    world, source = world_of(5)
    await world.run(source)
    sent = len(world.provider.sendings)
    await world.run(source)
    assert len(world.provider.sendings) == sent
    expect_an_end(world, source)


async def test_what_waits_at_the_throttle_does_not_leave_after_the_end() -> None:
    """A drain does not wait for the outer guard, which may take a minute, and sends nothing after it."""
    world = World()
    world.guard.seconds = 60.0

    async def drained() -> float:
        run = asyncio.create_task(world.open(rows(5)).run())
        await world.clock.sleep(30.0)
        world.dispatcher.drain("stopped")
        began = world.clock.monotonic()
        assert (await run).state is RunState.INTERRUPTED
        return world.clock.monotonic() - began

    assert await world.clock.run(drained()) < 1.0
    assert world.provider.sendings == []
    assert world.budget.reserved == 0


async def test_being_cancelled_from_outside_is_not_swallowed() -> None:
    """Also where the grace is over at the same moment, and also by what waits at the throttle."""
    for guard_s in (0.0, 60.0):
        world = World(luck=Luck(latency_s=(50.0, 50.0)))
        world.guard.seconds = guard_s

        async def cancelled(world: World = world) -> None:
            run = asyncio.create_task(world.open(rows(5)).run())
            await world.clock.sleep(10.0)
            world.dispatcher.drain("stopped")
            world.dispatcher.abort()
            run.cancel()
            await run

        with pytest.raises(asyncio.CancelledError):
            await world.clock.run(cancelled())
        assert world.journal.attempts_failed == []


async def test_an_executor_that_tidies_up_is_cut_once() -> None:
    """What closes its connection when it is cut off is not cut off again at every other landing."""
    world = World(luck=Luck(latency_s=(50.0, 50.0)))
    tidied: list[float] = []
    provider = world.provider

    async def tidy(request: Request, timeout_s: float) -> Reply:
        try:
            return await provider(request, timeout_s)
        finally:
            await world.clock.sleep(world.random.uniform(0.5, 2.0))
            tidied.append(world.clock.monotonic())

    async def aborted() -> None:
        world.open(rows(8), executor=tidy)
        run = asyncio.create_task(world.dispatcher.run())
        await world.clock.sleep(10.0)
        world.dispatcher.drain("stopped")
        world.dispatcher.abort()
        await run

    await world.clock.run(aborted())
    assert len(tidied) == 8
    assert [kind for _, kind in world.journal.attempts_failed] == [K.INTERRUPTED] * 8
