"""All that may hold a request back at one model, and what replies teach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.flight import Silence
from tunemill.engine.gates import Gates, Wait
from tunemill.engine.pacing import CONCURRENCY_START, LaneLimits
from tunemill.engine.throttle import RequestThrottle
from tunemill.model import LimitHints, WaitReason


def gates(requests: float | None = None, tokens: float | None = None, concurrency: int = 100) -> Gates:
    limits = LaneLimits(requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency, timeout_s=60.0)
    return Gates(limits, 0.0)


def test_each_gate_says_why_and_for_how_long() -> None:
    """In the order: outage, pause, concurrency, tokens, requests."""
    assert gates().blocked(0.0, tokens=10**9, in_flight=0) is None
    paused = gates()
    paused.pause(7.0)
    paused.pause(3.0)  # a shorter one takes nothing back
    assert paused.blocked(1.0, tokens=1, in_flight=0) == Wait(WaitReason.RETRY_AFTER, 6.0)
    assert paused.blocked(7.0, tokens=1, in_flight=0) is None
    assert gates(concurrency=2).blocked(0.0, tokens=1, in_flight=2) == Wait(WaitReason.CONCURRENCY, None)
    spent = gates(tokens=600.0)
    spent.took(0.0, tokens=10)
    assert spent.blocked(0.0, tokens=5, in_flight=0) == Wait(WaitReason.TOKENS_PER_MINUTE, 0.5)
    slow = gates(requests=60.0)
    slow.took(0.0, tokens=1)
    wait = slow.blocked(0.0, tokens=1, in_flight=0)
    assert wait is not None
    assert wait.reason is WaitReason.REQUESTS_PER_MINUTE
    out = gates()
    out.pause(60.0)
    out.circuit.fell_silent(Silence(20, 0.0), 10.0)
    assert out.blocked(10.0, tokens=1, in_flight=0) == Wait(WaitReason.OUTAGE, 1.0)
    assert out.blocked(11.0, tokens=1, in_flight=1000) is None  # a probe takes no slot, and is not put off
    out.circuit.succeeded(out.circuit.left(11.0), 12.0)
    out.recovered()
    assert out.blocked(12.0, tokens=1, in_flight=0) is None


def test_concurrency_is_felt_out_only_where_no_limit_is_known() -> None:
    """With a limit from the recipe there is nothing to find out."""
    assert gates(concurrency=200).levels(0.0, model="m", in_flight=0)[0].limit == CONCURRENCY_START
    assert gates(requests=60.0, concurrency=200).levels(0.0, model="m", in_flight=0)[0].limit == 200


def test_a_refusal_slows_the_rate_where_it_is_known_and_the_concurrency_where_not() -> None:
    """Once an episode, and it is told."""
    known, unknown = gates(requests=600.0), gates()
    assert [change.kind for change in known.rate_limited(sent_at=1.0, now=2.0)] == ["requests_per_minute"]
    assert known.rate_limited(sent_at=1.5, now=2.5) == []
    assert [change.kind for change in unknown.rate_limited(sent_at=1.0, now=2.0)] == ["concurrency"]
    assert unknown.rate_limited(sent_at=1.5, now=2.5) == []


def test_a_lower_limit_is_adopted_at_once_and_a_higher_one_gradually() -> None:
    """And never above the recipe's own."""
    learned = gates(requests=1000.0)
    assert [change.limit for change in learned.learn(LimitHints(requests_per_minute=100), 0.0)] == [100.0]
    steps = []
    for _ in range(60):
        learned.learn(LimitHints(requests_per_minute=5000), 0.0)
        assert learned.requests_per_minute is not None
        steps.append(learned.requests_per_minute)
    assert steps[0] == pytest.approx(110.0)
    assert steps == sorted(steps)
    assert steps[-1] == 1000.0
    assert learned.learn(LimitHints(requests_per_minute=5000), 0.0) == []


@given(st.lists(st.tuples(st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 10**7)), max_size=30))
def test_what_is_learned_stays_within_what_the_recipe_allows(said: list[tuple[int | None, int | None]]) -> None:
    """Whatever headers announce, in whatever order; nothing said changes nothing."""
    learned = gates(requests=500.0, tokens=20_000.0)
    for now, (requests, tokens) in enumerate(said):
        changes = learned.learn(LimitHints(requests_per_minute=requests, tokens_per_minute=tokens), float(now))
        assert learned.requests_per_minute is not None
        assert learned.tokens_per_minute is not None
        assert 1 <= learned.requests_per_minute <= 500.0
        assert 1 <= learned.tokens_per_minute <= 20_000.0
        assert requests or tokens or not changes


async def test_the_outer_guard_lets_no_more_through_than_its_window_holds() -> None:
    """asyncio-throttle itself, on the real clock: 40 a second let 40 through at once and hold the next one back."""
    import asyncio

    throttle = RequestThrottle(2400.0)
    for _ in range(40):
        await asyncio.wait_for(throttle.acquire(), 30)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(throttle.acquire(), 0.05)
    throttle.change(None)
    await throttle.acquire()


@pytest.mark.parametrize("per_minute", [0.5, 1.0, 59.0, 60.0, 61.0, 90.0, 3000.0, 10_000.0])
def test_the_outer_guard_is_as_fast_as_its_limit(per_minute: float) -> None:
    """Its window and count are the limit, also where that is not whole or less than one a second."""
    throttler = RequestThrottle(per_minute)._throttler
    assert throttler is not None
    assert throttler.rate_limit >= 1
    assert throttler.rate_limit / throttler.period * 60 == pytest.approx(per_minute)
    assert throttler.period <= max(1.5, 60 / per_minute)
