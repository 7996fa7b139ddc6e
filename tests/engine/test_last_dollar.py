"""Near the cap: what fits is sent, whatever stands before it; what does not fit is not waited for; nothing is exceeded.

A failing run names its seed: `world_of(seed)` is that run again.
"""

import asyncio
from random import Random

import orjson
import pytest
from tests.engine.engine_support import FREE, MODEL, NO_HINTS, OTHER, Luck, World, renderer, row_of, step, worst
from tests.engine.test_simulations import expect_an_end
from tests.support.torture import seeds

from tunemill.answers import parse_completion
from tunemill.engine import LaneLimits, Place, RetryLimits
from tunemill.engine.dispatcher import ROOM_BESIDE_CONCURRENCY
from tunemill.events import Completed
from tunemill.model import Delivered, FailureKind, JsonObject, Picodollars, Reply, Request, Row, RunState

K = FailureKind
ENOUGH = 10**15


def sized(count: int, most: int, *, word: str = "sized") -> list[Row]:
    """So many rows that ask for at most so many tokens."""
    return [row_of({"text": f"{word} {number}", "max": str(most)}) for number in range(count)]


def worst_of(row: Row) -> Picodollars:
    """What the row's first request may cost at worst."""
    request = renderer([step()])(Place(row=row, step=0, sample=0, texts={}))
    assert isinstance(request, Request)
    return worst(request)


def _change_cap(world: World, cap: Picodollars) -> None:
    world.budget.change_cap(cap)
    world.dispatcher.freed()


def limits(concurrency: int, *, timeout_s: float = 60.0) -> LaneLimits:
    return LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=concurrency, timeout_s=timeout_s)


def world_of(seed: int) -> tuple[World, list[Row]]:
    """Long completions, max_tokens far above what is used, two sizes or many, outcomes in doubt: all from the seed."""
    luck = Random(f"last dollar {seed}")
    sizes = luck.choice([[100], [20, 100, 400], [40, 2_000]])
    source = [row_of({"text": f"row {number}", "max": str(luck.choice(sizes))}) for number in range(300)]
    doubtful = luck.choice([0.0, 0.05, 0.2])
    world = World(
        seed,
        limits={MODEL: limits(luck.choice([1, 8, 64]), timeout_s=30.0)},
        luck=Luck(
            faults={K.TIMEOUT: doubtful / 3, K.GATEWAY_ERROR: doubtful / 3, K.DISCONNECTED: doubtful / 3},
            latency_s=luck.choice([(0.2, 1.0), (15.0, 25.0)]),
            used=luck.choice([0.1, 0.5, 1.0]),
        ),
        retry=RetryLimits(attempts_max=20, outage_max_s=1e6),
    )
    whole = sum(worst_of(row) for row in source)
    world.cap = max(40 * worst_of(source[0]), int(whole * luck.choice([0.03, 0.1])))
    return world, source


@pytest.mark.parametrize("seed", seeds(20, 60))
async def test_the_budget_is_spent_to_the_last_request_that_fits(seed: int) -> None:
    """At most 100 % at every moment; at the end less is left than what the smallest of all that wait may cost, also
    after crashes; 97 % are spent wherever a request is that small a part of the budget. More money finishes it."""
    world, source = world_of(seed)
    luck = Random(f"crashes {seed}")
    for _ in range(luck.choice([0, 0, 2])):
        await _killed_after(world, source, luck.expovariate(1 / 20))
    ending = await world.run(source)
    assert world.cap is not None
    spent = world.budget.settled + world.budget.uncertain
    assert world.budget.reserved == 0
    assert spent <= world.cap
    waiting = [worst_of(row) for row in source if world.journal.state_at(row.id, "plot", 0) is None]
    if ending.state is RunState.BUDGET_REACHED:
        waiting += [worst_of(row) for row in source if _is_half_done(world, row)]
        assert world.cap - spent < min(waiting)
        if min(waiting) <= 0.03 * world.cap:
            assert spent >= 0.97 * world.cap
    else:
        assert not waiting
    world.cap = ENOUGH
    await world.run(source)
    expect_an_end(world, source)


def _is_half_done(world: World, row: Row) -> bool:
    state = world.journal.state_at(row.id, "plot", 0)
    return state is not None and state.value == "sent"


async def _killed_after(world: World, source: list[Row], seconds: float) -> None:
    async def killed() -> None:
        run = asyncio.create_task(world.open(source).run())
        await asyncio.wait([run, asyncio.create_task(world.clock.sleep(seconds))], return_when=asyncio.FIRST_COMPLETED)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    await world.clock.run(killed())


async def test_a_large_request_in_front_does_not_keep_small_ones_from_the_rest() -> None:
    """What it needs can never come free: those behind it leave at once, and the run ends when none of them fits."""
    large, small = sized(3, 5_000, word="large"), sized(40, 50)
    world = World(cap=worst_of(large[0]) - 1)
    ending = await world.run([*large, *small])
    assert world.dispatcher.counts.completed == 40
    assert ending.state is RunState.BUDGET_REACHED
    assert "smaller than what any request in line may cost" in ending.reason


async def test_another_models_small_requests_use_what_one_models_large_ones_cannot() -> None:
    """The chain's first step is large and out of reach at some point; the second step of what is answered goes on."""
    steps = [step("a", lane=MODEL), step("b", lane=OTHER)]
    source = [row_of({"text": str(number), "max": "2000", "max b": "50"}) for number in range(60)]
    world = World(steps=steps, limits={MODEL: FREE, OTHER: FREE}, luck=Luck(used=0.5))
    world.cap = 12 * worst_of(source[0])
    ending = await world.run(source)
    assert ending.state is RunState.BUDGET_REACHED
    by_step = world.dispatcher.counts.completed_by_step
    assert by_step["b"] == by_step["a"] >= 30


async def test_rows_that_were_not_walked_yet_are_looked_at_within_bounds() -> None:
    """More large rows than there is room for, then small ones: they are found behind a few hundred, not behind all."""
    large, small = sized(400, 5_000, word="large"), sized(20, 50)
    world = World(cap=worst_of(large[0]) - 1)
    await world.run([*large, *small])
    assert world.dispatcher.counts.completed == 20
    world = World(cap=worst_of(large[0]) - 1)
    ending = await world.run([*sized(3_000, 5_000, word="large"), *small])
    assert ending.state is RunState.BUDGET_REACHED
    assert world.provider.sendings == []
    assert world.most_pending <= FREE.concurrency + ROOM_BESIDE_CONCURRENCY + 512


async def test_a_request_dearer_than_the_whole_budget_ends_nothing_and_is_named() -> None:
    """It waits for a larger budget; the sentence at the end says what it may cost."""
    source = [*sized(1, 50_000, word="huge"), *sized(60, 100)]
    world = World(cap=20 * worst_of(source[1]))
    ending = await world.run(source)
    assert ending.state is RunState.BUDGET_REACHED
    assert world.dispatcher.counts.completed >= 20
    assert "1 may cost more than the whole budget" in ending.reason
    assert world.dispatcher.waiting_for()["budget"] >= 1
    assert world.journal.failures == []


async def test_a_budget_that_is_raised_in_mid_run_is_used_at_once() -> None:
    """What was shelved comes back in its old order, and the run goes on to its end."""
    source = [*sized(10, 1_000, word="large"), *sized(10, 50)]
    world = World(cap=worst_of(source[0]) - 1, luck=Luck(latency_s=(10.0, 10.0)), write_s=(0.0, 0.0))

    async def raised() -> RunState:
        run = asyncio.create_task(world.open(source).run())
        await world.clock.sleep(5.0)
        assert world.dispatcher.waiting_for() == {"budget": 10}
        _change_cap(world, ENOUGH)
        return (await run).state

    assert await world.clock.run(raised(), each_turn=world.check_sums) is RunState.FINISHED
    done = [event.row_id for event in world.events if isinstance(event, Completed)]
    assert len(done) == 20
    sent = [sending.request.row_id for sending in world.provider.sendings]
    assert sent[10:] == [row.id for row in source[:10]]


async def test_a_budget_that_is_lowered_in_mid_run_lets_nothing_more_through() -> None:
    """Lowered to what is committed: what is in flight is paid, and of the rest as much leaves as that was cheaper."""
    world = World(cap=ENOUGH, luck=Luck(latency_s=(10.0, 10.0)))

    async def lowered() -> RunState:
        run = asyncio.create_task(world.open(sized(100, 100)).run())
        await world.clock.sleep(15.0)
        _change_cap(world, world.budget.committed)
        return (await run).state

    assert await world.clock.run(lowered()) is RunState.BUDGET_REACHED
    assert 32 < world.dispatcher.counts.completed == len(world.provider.sendings) < 100
    assert world.budget.cap is not None
    assert world.budget.cap - world.budget.settled < worst_of(sized(1, 100)[0])


async def test_money_that_one_model_does_not_use_is_used_by_another_at_once() -> None:
    """The second step waits for the budget at its model, and nothing of its own happens there: it leaves the moment
    another model's answer turns out cheaper than what was reserved."""
    steps = [step("a", lane=MODEL), step("b", lane=OTHER)]
    quick, slow = (row_of({"text": text, "max b": "1000"}) for text in ("quick", "slow"))
    world = World(steps=steps, limits={MODEL: FREE, OTHER: FREE}, write_s=(0.0, 0.0))
    sent: list[tuple[str, float]] = []

    async def provider(request: Request, timeout_s: float) -> Reply:
        """The slow row's answer is empty, so that nothing follows from it."""
        del timeout_s
        began = world.clock.monotonic()
        sent.append((request.step, began))
        await world.clock.sleep(20.0 if request.row_id == slow.id else 1.0)
        answer: JsonObject = {
            "choices": [{"message": {"content": "" if request.row_id == slow.id else "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
        return Delivered(body=orjson.dumps(answer), hints=NO_HINTS, completion=parse_completion(answer))

    second = renderer(steps)(Place(row=quick, step=1, sample=0, texts={"a": "x"}))
    assert isinstance(second, Request)
    world.cap = worst(second) + worst_of(slow) - 1
    began = world.clock.monotonic()
    run = world.open([quick, slow], executor=provider).run()
    ending = await world.clock.run(run, each_turn=world.check_sums)
    assert ending.state is RunState.FINISHED_WITH_FAILURES
    assert world.dispatcher.counts.completed_by_step == {"a": 2, "b": 1}
    assert [name for name, _ in sent] == ["a", "a", "b"]
    assert sent[-1][1] - began == pytest.approx(20.0, abs=0.1)


async def test_as_many_are_in_flight_as_fit() -> None:
    """With answers that take 20 s and a budget for eight worst cases, there are eight, until fewer fit."""
    source = sized(200, 100)
    world = World(limits={MODEL: limits(64)}, luck=Luck(latency_s=(20.0, 20.0), used=0.2))
    world.cap = 8 * max(worst_of(row) for row in source)
    ending = await world.run(source)
    assert ending.state is RunState.BUDGET_REACHED
    assert world.provider.most_in_flight == 8
    # Every round costs a tenth of what it reserves, or so: thirty rounds and not one for each request.
    began, ended = world.provider.sendings[0].at, world.clock.monotonic()
    assert len(world.provider.sendings) > 2 * (ended - began) / 20
