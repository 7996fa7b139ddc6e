"""A run that is paused, tuned and given other templates while it works: what must hold always still does."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import orjson
import pytest
from tests.engine.engine_support import MODEL, Luck, World, failure_of, renderer, row_of, rows, step, worst
from tests.engine.test_simulations import expect_an_end, world_of

from tunemill.engine import LaneLimits, Place, RetryLimits, Step, Unrenderable
from tunemill.engine.dispatcher import ROOM_BESIDE_CONCURRENCY
from tunemill.events import Completed
from tunemill.model import FailureKind, Lane, Request, Row, RunState, WaitReason

K = FailureKind
RETRY = RetryLimits(attempts_max=6, outage_max_s=1800.0)


def improved(steps: Sequence[Step], version: int, *, only: str = "") -> Callable[[Place], Request | Unrenderable]:
    """The world's renderer with another template for all steps, or for one of them."""
    plain = renderer(steps)

    def render(place: Place) -> Request | Unrenderable:
        request = plain(place)
        if isinstance(request, Unrenderable) or (only and request.step != only):
            return request
        body = orjson.dumps({**orjson.loads(request.body), "version": version})
        return replace(request, id=f"{version}-{request.id}", body=body, input_tokens_max=len(body))

    return render


def limited(
    requests: float | None = None, *, tokens: float | None = None, concurrency: int = 64
) -> Mapping[Lane, LaneLimits]:
    """Limits of the one model."""
    of_lane = LaneLimits(
        requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency, timeout_s=60.0
    )
    return {MODEL: of_lane}


async def steered(world: World, source: list[Row], hand: Callable[[], Awaitable[None]]) -> RunState:
    """Run to the end with a hand that steers meanwhile; the sums are looked at at every turn."""
    dispatcher = world.open(source)

    async def both() -> RunState:
        run = asyncio.create_task(dispatcher.run())
        steering = asyncio.ensure_future(hand())
        try:
            return (await run).state
        finally:
            steering.cancel()
            outcome = await asyncio.gather(steering, return_exceptions=True)
            if isinstance(outcome[0], Exception):
                raise outcome[0]

    return await world.clock.run(both(), each_turn=world.check_sums)


def versions(world: World) -> list[int]:
    """Of each request that was received, by which templates it was made."""
    return [orjson.loads(sending.request.body).get("version", 0) for sending in world.provider.sendings]


def places_completed(world: World) -> Counter[tuple[str, str, int]]:
    """How often each place's own request was answered."""
    done = (event for event in world.events if isinstance(event, Completed))
    return Counter((event.row_id, event.step, event.sample) for event in done)


# -- everything at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(20, 300))]
)
async def test_whatever_is_changed_in_mid_run_everything_is_answered_once(seed: int) -> None:
    """Pauses, limits up and down, new templates, among faults of every kind: nothing is lost and nothing paid twice."""
    world, source = world_of(seed)
    luck = Random(f"hand {seed}")

    async def hand() -> None:
        for version in range(1, 60):
            await world.clock.sleep(luck.expovariate(1 / 3))
            dispatcher = world.dispatcher
            if dispatcher.is_ending():
                return
            match luck.choice(["pause", "limits", "templates", "one template"]):
                case "pause":
                    dispatcher.pause()
                    world.check()
                    await world.clock.sleep(luck.uniform(0, 30))
                    dispatcher.resume()
                case "limits":
                    lane = luck.choice(list(dispatcher.limits))
                    of_lane = replace(
                        dispatcher.limits[lane],
                        requests_per_minute=luck.choice([None, 60.0, 6000.0]),
                        tokens_per_minute=luck.choice([None, 20_000.0, 2_000_000.0]),
                        concurrency=luck.choice([1, 8, 64]),
                    )
                    dispatcher.configure({lane: of_lane}, RETRY)
                case "templates":
                    dispatcher.render_by(improved(world.steps, version))
                case _:
                    only = luck.choice(world.steps).name
                    dispatcher.render_by(improved(world.steps, version, only=only))
            world.check()

    state = await steered(world, source, hand)
    assert state in {RunState.FINISHED, RunState.FINISHED_WITH_FAILURES}
    expect_an_end(world, source)
    assert set(places_completed(world).values()) <= {1}


# -- templates -------------------------------------------------------------------------------------------------------


async def test_new_templates_hold_for_all_that_has_not_left() -> None:
    """Queued, at the gate and not yet walked: the first request after the change is made by the new ones already."""
    world = World(limits=limited(60.0), luck=Luck(latency_s=(5.0, 5.0)))
    changed: list[int] = []

    async def hand() -> None:
        await world.clock.sleep(10.5)
        before = len(world.provider.sendings)
        changed.extend((before, world.dispatcher.render_by(improved(world.steps, 1))))

    assert await steered(world, rows(300), hand) is RunState.FINISHED
    before, anew = changed
    assert before == 11
    assert versions(world) == [0] * before + [1] * (300 - before)
    assert anew == 64 + ROOM_BESIDE_CONCURRENCY - 5  # room for so many, of which five were in flight
    assert len(world.provider.times) == len(world.provider.sendings) == 300


async def test_later_steps_are_made_by_the_templates_of_the_moment() -> None:
    """A first answer stays, and what is made of it afterwards is made the new way."""
    world = World(steps=[step("plot"), step("scene", 2)], luck=Luck(latency_s=(5.0, 5.0)))

    async def hand() -> None:
        await world.clock.sleep(2.0)
        assert world.dispatcher.render_by(improved(world.steps, 1, only="scene")) == 0

    assert await steered(world, rows(8), hand) is RunState.FINISHED
    by_step = Counter(
        (sending.request.step, version)
        for sending, version in zip(world.provider.sendings, versions(world), strict=True)
    )
    assert by_step == {("plot", 0): 8, ("scene", 1): 16}


async def test_what_was_refused_and_waits_is_sent_the_new_way() -> None:
    """It left in vain; the same once more would not be what was asked for. Its place is answered once."""
    world = World(luck=Luck(latency_s=(1.0, 1.0)))
    world.provider.script = lambda request, times: (
        failure_of(K.RATE_LIMITED, retry_after_s=50.0) if b"version" not in request.body else None
    )

    async def hand() -> None:
        await world.clock.sleep(20.0)
        assert world.dispatcher.render_by(improved(world.steps, 1)) == 10

    source = rows(10)
    assert await steered(world, source, hand) is RunState.FINISHED
    expect_an_end(world, source)
    assert set(places_completed(world).values()) == {1}
    assert versions(world)[-10:] == [1] * 10


async def test_rows_that_asked_for_the_same_may_part_and_others_may_meet() -> None:
    """Twins under the old templates are none under the new ones, and the other way round; each is served."""
    world = World(limits=limited(60.0, concurrency=1), luck=Luck(latency_s=(30.0, 30.0)))
    source = [row_of({"text": f"{number}", "prompt": "the same"}) for number in range(6)] + rows(6)
    plain = renderer(world.steps)

    def turned(place: Place) -> Request | Unrenderable:
        is_twin = place.row.fields.get("prompt") == "the same"
        other = row_of({"text": str(place.row.fields["text"])} if is_twin else {"text": "x", "prompt": "now the same"})
        request = plain(replace(place, row=other))
        assert isinstance(request, Request)
        return replace(request, row_id=place.row.id)

    async def hand() -> None:
        await world.clock.sleep(10.0)  # the twins' one request is in flight and stays theirs
        world.dispatcher.render_by(turned)
        world.check()

    assert await steered(world, [source[0], *source[6:], *source[1:6]], hand) is RunState.FINISHED
    expect_an_end(world, source)
    assert len(world.provider.sendings) == 2  # what the twins ask for had left; all the others are one now


async def test_a_template_that_no_row_fits_fails_what_is_left_and_no_more() -> None:
    """Each place that is left is named as one that could not be sent; what is answered stays."""
    world = World(limits=limited(60.0), luck=Luck(latency_s=(0.5, 0.5)))

    async def hand() -> None:
        await world.clock.sleep(4.7)
        world.dispatcher.render_by(lambda place: Unrenderable(message="it cannot be filled in"))

    source = rows(30)
    assert await steered(world, source, hand) is RunState.FINISHED_WITH_FAILURES
    expect_an_end(world, source)
    assert world.dispatcher.counts.completed == 5
    assert {kind for _, kind, _ in world.journal.failures} == {K.BAD_REQUEST}


# -- pause -----------------------------------------------------------------------------------------------------------


async def test_a_paused_run_sends_nothing_keeps_what_arrives_and_goes_on_evenly() -> None:
    """An hour of rest is no outage, uses up nobody's attempts, and is not made up for."""
    world = World(
        limits=limited(600.0), luck=Luck(latency_s=(3.0, 3.0)), retry=RetryLimits(attempts_max=2, outage_max_s=60.0)
    )
    seen: list[int] = []

    async def hand() -> None:
        await world.clock.sleep(10.0)
        world.dispatcher.pause()
        await world.clock.sleep(0.5)
        sent = len(world.provider.sendings)
        assert world.dispatcher.counts.in_flight > 0
        assert world.dispatcher.waiting_for() == {WaitReason.PAUSED.value: world.dispatcher.counts.waiting}
        await world.clock.sleep(3600.0)
        assert len(world.provider.sendings) == sent == world.dispatcher.counts.completed
        assert world.dispatcher.counts.in_flight == 0
        assert world.dispatcher.resume() == pytest.approx(3600.5)
        seen.append(sent)

    assert await steered(world, rows(400), hand) is RunState.FINISHED
    after = [sending.at for sending in world.provider.sendings[seen[0] :]]
    for at in after:
        assert sum(at <= other < at + 1.0 for other in after) <= 16  # ten a second, and half of that to catch up


async def test_a_pause_in_an_outage_is_not_counted_as_one() -> None:
    """The provider is out for two minutes and the pause takes an hour: the run does not give up at the end of it."""
    world = World(luck=Luck(latency_s=(0.5, 1.0)), retry=RetryLimits(attempts_max=6, outage_max_s=600.0))
    out_until = world.clock.monotonic() + 3800.0
    world.provider.script = lambda request, times: (
        failure_of(K.SERVER_ERROR) if world.clock.monotonic() < out_until else None
    )

    async def hand() -> None:
        await world.clock.sleep(100.0)
        assert any(world.dispatcher.circuits.values())
        world.dispatcher.pause()
        await world.clock.sleep(3600.0)
        world.dispatcher.resume()

    assert await steered(world, rows(50), hand) is RunState.FINISHED


async def test_a_paused_run_can_be_stopped_and_what_arrived_is_kept() -> None:
    """The drain waits for what is in flight and for nothing else; the next process pays for nothing twice."""
    world = World(limits=limited(600.0), luck=Luck(latency_s=(3.0, 3.0)))

    async def hand() -> None:
        await world.clock.sleep(5.0)
        world.dispatcher.pause()
        await world.clock.sleep(1.0)
        world.dispatcher.drain("stopped")

    began = world.clock.monotonic()
    assert await steered(world, rows(200), hand) is RunState.INTERRUPTED
    assert world.clock.monotonic() - began < 9.0
    assert world.dispatcher.counts.completed == len(world.provider.sendings) > 0
    await world.run(rows(200))
    assert set(world.provider.times.values()) == {1}


async def test_what_is_in_flight_may_finish_a_paused_run() -> None:
    """There is nothing left that a pause could hold back."""
    world = World(luck=Luck(latency_s=(3.0, 3.0)))

    async def hand() -> None:
        await world.clock.sleep(1.0)
        world.dispatcher.pause()

    assert await steered(world, rows(5), hand) is RunState.FINISHED


# -- limits and money ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(2.0, 600.0), (60.0, 600.0), (600.0, 60.0)])
async def test_another_rate_is_in_force_at_once(before: float, after: float) -> None:
    """Ten times as many a second, or a tenth, from that moment on."""
    world = World(limits=limited(before), luck=Luck(latency_s=(0.2, 0.2)))
    changed_at: list[float] = []

    async def hand() -> None:
        await world.clock.sleep(20.0)
        changed_at.append(world.clock.monotonic())
        world.dispatcher.configure(limited(after), RETRY)

    await steered(world, rows(400), hand)
    since = [sending.at - changed_at[0] for sending in world.provider.sendings if sending.at > changed_at[0] + 1.0]
    within = sum(at < 11.0 for at in since)
    assert after / 6 * 0.9 <= within <= after / 6 * 1.1


async def test_more_at_once_also_where_fewer_were_planned_for() -> None:
    """Rows are walked as far as the new room needs; fewer at once let what is in flight arrive."""
    world = World(limits=limited(1e6, concurrency=1), luck=Luck(latency_s=(1.0, 1.0)))
    most: list[int] = []

    async def hand() -> None:
        for concurrency in (200, 5):
            await world.clock.sleep(4.5)
            most.append(world.provider.most_in_flight)
            world.dispatcher.configure(limited(1e6, concurrency=concurrency), RETRY)
        await world.clock.sleep(1.5)
        assert world.dispatcher.counts.in_flight <= 5

    assert await steered(world, rows(1000), hand) is RunState.FINISHED
    assert most == [1, 200]


async def test_a_cap_that_is_lowered_lets_nothing_more_leave() -> None:
    """Not even what had its money set aside and waited for its turn; what is in flight is awaited, and then it ends."""
    cap = 400 * worst(_one_request())
    world = World(limits=limited(60.0), luck=Luck(latency_s=(5.0, 5.0)), cap=cap)
    sent: list[int] = []

    async def hand() -> None:
        await world.clock.sleep(20.5)
        sent.append(len(world.provider.sendings))
        world.lower_cap(world.budget.settled)

    assert await steered(world, rows(300), hand) is RunState.BUDGET_REACHED
    assert len(world.provider.sendings) == sent[0]
    assert world.dispatcher.counts.completed == sent[0]
    assert world.budget.reserved == 0


async def test_a_cap_that_is_raised_lets_go_on_what_waited_for_money() -> None:
    """At once, and not when the next answer comes."""
    one = worst(_one_request())
    world = World(luck=Luck(latency_s=(60.0, 60.0)), cap=4 * one + one // 2)

    async def hand() -> None:
        await world.clock.sleep(10.0)
        assert len(world.provider.sendings) == 4
        world.budget.change_cap(100 * one)
        world.dispatcher.freed()
        await world.clock.sleep(1.0)
        assert len(world.provider.sendings) == 12

    assert await steered(world, rows(12), hand) is RunState.FINISHED


async def test_a_run_that_is_stopped_says_how_long_it_waits() -> None:
    """The seconds of grace that are left go down to the end; before and after there are none."""
    world = World(luck=Luck(latency_s=(20.0, 20.0)))
    seen: list[float | None] = []

    async def hand() -> None:
        await world.clock.sleep(1.0)
        seen.append(world.dispatcher.grace_left_s())
        world.dispatcher.drain("stopped")
        for _ in range(2):
            await world.clock.sleep(5.0)
            seen.append(world.dispatcher.grace_left_s())

    assert await steered(world, rows(12), hand) is RunState.INTERRUPTED
    assert seen == [None, pytest.approx(25.0, abs=0.1), pytest.approx(20.0, abs=0.1)]
    assert world.dispatcher.grace_left_s() is None
    assert world.dispatcher.counts.completed == 12


def _one_request() -> Request:
    made = renderer([step()])(Place(row=rows(1)[0], step=0, sample=0, texts={}))
    assert isinstance(made, Request)
    return made
