"""All that may hold a request back at one model, and what replies teach."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.flight import Silence
from tunemill.engine.gates import Gates, Wait
from tunemill.engine.pacing import CONCURRENCY_START, START_SHARE, USED_SHARE, LaneLimits
from tunemill.engine.passage import Passage
from tunemill.engine.size import Size
from tunemill.engine.throttle import RequestThrottle
from tunemill.model import Failure, FailureKind, LimitedBy, LimitHints, WaitReason

SMALL = Size(4, 0)


def gates(requests: float | None = None, tokens: float | None = None, concurrency: int = 100) -> Gates:
    limits = LaneLimits(requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency, timeout_s=60.0)
    return Gates(limits, 0.0)


def refusal(by: LimitedBy | None = None, retry_after_s: float | None = None) -> Failure:
    return Failure(
        kind=FailureKind.RATE_LIMITED, message="", may_be_billed=False, retry_after_s=retry_after_s, limited_by=by
    )


def sent(through: Gates, now: float, *, until: float, size: Size = SMALL) -> tuple[float, list[Passage]]:
    """Send whatever may leave from `now` on; when that was over, and the passages."""
    passages = []
    while now < until:
        wait = through.blocked(now, size=size, in_flight=0)
        if wait is None:
            passages.append(through.took(now, size=size))
            through.left(passages[-1], now)
        else:
            assert wait.seconds is not None
            now += max(wait.seconds, 1e-6)
    return now, passages


def limit_of(of: Gates, kind: str, now: float) -> float | None:
    """What is shown as the limit in force."""
    return {level.kind: level.limit for level in of.levels(now, model="m", in_flight=0)}.get(kind)


def test_each_gate_says_why_and_for_how_long() -> None:
    """In the order: outage, pause, concurrency, tokens, requests."""
    assert gates().blocked(0.0, size=Size(4_000, 0), in_flight=0) is None
    paused = gates()
    paused.pause(7.0)
    paused.pause(3.0)  # a shorter one takes nothing back
    assert paused.blocked(1.0, size=SMALL, in_flight=0) == Wait(WaitReason.RETRY_AFTER, 6.0)
    assert paused.blocked(7.0, size=SMALL, in_flight=0) is None
    assert gates(concurrency=2).blocked(0.0, size=SMALL, in_flight=2) == Wait(WaitReason.CONCURRENCY, None)
    spent = gates(tokens=600.0)
    spent.took(0.0, size=Size(20, 0))
    wait = spent.blocked(0.0, size=Size(20, 0), in_flight=0)
    assert wait is not None
    assert wait.reason is WaitReason.TOKENS_PER_MINUTE
    assert wait.seconds == pytest.approx((0.75 - START_SHARE + 0.5) / USED_SHARE)
    slow = gates(requests=60.0)
    wait = slow.blocked(0.0, size=SMALL, in_flight=0)
    assert wait is not None
    assert wait.reason is WaitReason.REQUESTS_PER_MINUTE
    out = gates()
    out.pause(60.0)
    out.circuit.fell_silent(Silence(20, 0.0), 10.0)
    assert out.blocked(10.0, size=SMALL, in_flight=0) == Wait(WaitReason.OUTAGE, 1.0)
    assert out.blocked(11.0, size=SMALL, in_flight=1000) is None  # a probe takes no slot, and is not put off
    out.circuit.succeeded(out.circuit.left(11.0), 12.0)
    out.recovered()
    assert out.blocked(12.0, size=SMALL, in_flight=0) is None


def test_concurrency_is_felt_out_only_where_no_limit_is_known() -> None:
    """With a limit from the recipe there is nothing to find out."""
    assert limit_of(gates(concurrency=5000), "concurrency", 0.0) == CONCURRENCY_START
    assert limit_of(gates(requests=60.0, concurrency=5000), "concurrency", 0.0) == 5000
    told = gates(concurrency=5000)
    told.learn(LimitHints(requests_per_minute=600), told.took(0.0, size=SMALL), 1.0)
    assert limit_of(told, "concurrency", 1.0) == 5000


def test_a_refusal_by_chance_changes_no_known_limit() -> None:
    """One is chance; the next within seconds is not, and is made up for by and by."""
    known = gates(requests=6000.0)
    now, passages = sent(known, 0.0, until=5.0)
    assert known.rate_limited(passages[-1], refusal(LimitedBy.REQUESTS, 0.01), now) == []
    assert limit_of(known, "requests_per_minute", now) == 6000.0
    now, passages = sent(known, now, until=7.0)
    changes = known.rate_limited(passages[-1], refusal(LimitedBy.REQUESTS, 0.01), now)
    assert [(change.kind, change.cause) for change in changes] == [("requests_per_minute", "refused")]
    assert 2500 < changes[0].limit < 6000
    again, passages = sent(known, now, until=now + 30)
    regained = known.learn(LimitHints(), passages[-1], again)
    assert [(change.limit, change.cause) for change in regained] == [(6000.0, "regained")]


def test_an_episode_of_refusals_counts_once() -> None:
    """Of what left before the cut, nothing cuts again."""
    unknown = gates()
    now, passages = sent(unknown, 0.0, until=0.5)
    assert len(unknown.rate_limited(passages[-3], refusal(LimitedBy.REQUESTS, 0.01), now)) == 1
    assert unknown.rate_limited(passages[-2], refusal(LimitedBy.REQUESTS), now + 0.1) == []
    assert unknown.rate_limited(passages[-1], refusal(LimitedBy.REQUESTS), now + 0.2) == []


def test_a_start_that_was_late_neither_bursts_nor_waits_for_long() -> None:
    """A stall in the first second: what leaves after it leaves evenly, and after a refusal goes on within seconds."""
    unknown = gates()
    now, _ = sent(unknown, 0.0, until=1.0)
    burst = []
    while unknown.blocked(now + 2.0, size=SMALL, in_flight=0) is None:
        burst.append(unknown.took(now + 2.0, size=SMALL))
    rate = limit_of(unknown, "requests_per_minute", now + 2.0)
    assert rate is not None
    assert len(burst) <= rate / 60 * 0.06 + 2
    for passage in burst:
        unknown.left(passage, now + 4.0)
    unknown.rate_limited(burst[0], refusal(LimitedBy.REQUESTS, 0.02), now + 4.0)
    wait = unknown.blocked(now + 4.0, size=SMALL, in_flight=0)
    assert wait is not None
    assert wait.seconds is not None
    assert wait.seconds < 2.0


@pytest.mark.parametrize("requests", [None, 6000.0])
@pytest.mark.parametrize("retry_after_s", [None, 1.5])
def test_refusals_at_random_are_no_limit(requests: float | None, retry_after_s: float | None) -> None:
    """One in ten, at any rate, with no wait or with one that fits no limit: nothing is found and nothing slows down."""
    through = gates(requests=requests)
    now, changes = 0.0, []
    for _ in range(300):
        now, passages = sent(through, now, until=now + 0.1)
        for number, passage in enumerate(passages[:100]):
            if (passage.requests.number + number) % 10 == 0:
                changes += through.rate_limited(passage, refusal(LimitedBy.REQUESTS, retry_after_s), now)
    assert changes == []


def test_it_is_the_limit_that_is_named_that_gives_way() -> None:
    """Tokens where tokens are refused; from then on requests are not held back any more."""
    unknown = gates()
    now, passages = sent(unknown, 0.0, until=0.5, size=Size(400, 100))
    changes = unknown.rate_limited(passages[-1], refusal(LimitedBy.TOKENS, 0.01), now)
    assert [change.kind for change in changes] == ["tokens_per_minute"]
    assert limit_of(unknown, "requests_per_minute", now) is None


def test_a_lower_limit_is_adopted_at_once_and_a_higher_one_gradually() -> None:
    """And never above the recipe's own; 15 % a second."""
    learned, now = gates(requests=1000.0), 10.0
    passage = learned.took(now, size=SMALL)
    assert [change.limit for change in learned.learn(LimitHints(requests_per_minute=100), passage, now)] == [100.0]
    steps = []
    for _ in range(40):
        now += 0.5
        learned.learn(LimitHints(requests_per_minute=5000), learned.took(now, size=SMALL), now)
        assert learned.requests_per_minute is not None
        steps.append(learned.requests_per_minute)
    assert steps[0] == pytest.approx(115.0)
    assert steps[1] == pytest.approx(115.0 * 1.15**0.5)
    assert steps == sorted(steps)
    assert steps[-1] == 1000.0


def test_an_answer_that_took_long_tells_of_long_ago() -> None:
    """What left before the reply that told of the new limit still announces the old one."""
    learned = gates()
    slow, quick = learned.took(1.0, size=SMALL), learned.took(2.0, size=SMALL)
    learned.learn(LimitHints(requests_per_minute=100), quick, 3.0)
    assert learned.learn(LimitHints(requests_per_minute=900), slow, 20.0) == []
    assert learned.requests_per_minute == 100.0


@given(st.lists(st.tuples(st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 10**7)), max_size=30))
def test_what_is_learned_stays_within_what_the_recipe_allows(said: list[tuple[int | None, int | None]]) -> None:
    """Whatever headers announce, in whatever order; nothing said changes nothing."""
    learned = gates(requests=500.0, tokens=20_000.0)
    for now, (requests, tokens) in enumerate(said):
        passage = learned.took(float(now), size=SMALL)
        hints = LimitHints(requests_per_minute=requests, tokens_per_minute=tokens, tokens_remaining=tokens)
        changes = learned.learn(hints, passage, now + 0.5)
        assert learned.requests_per_minute is not None
        assert learned.tokens_per_minute is not None
        assert 1 <= learned.requests_per_minute <= 500.0
        assert 1 <= learned.tokens_per_minute <= 20_000.0
        assert requests or tokens or not changes


def test_a_level_that_is_announced_corrects_what_was_thought() -> None:
    """The bucket lacks more than was thought, because somebody else used the key: less leaves at once."""
    told, untold = gates(requests=6000.0), gates(requests=6000.0)
    sent(untold, 0.0, until=2.0)
    now, passages = sent(told, 0.0, until=2.0)
    told.learn(LimitHints(requests_per_minute=6000, requests_remaining=5905), passages[-1], now)
    wait, usual = (of.blocked(now, size=SMALL, in_flight=0) for of in (told, untold))
    assert wait is not None
    assert usual is None or (wait.seconds or 0.0) > (usual.seconds or 0.0)


def test_what_no_rule_lets_through_never_fits_and_what_may_is_tried() -> None:
    """1500 + 600 may be counted as 1500 and is tried a few times; 2500 never fits; without a limit all does."""
    known = gates(tokens=2000.0)
    assert known.never_fits(Size(6000, 600), refusals=0) is None
    assert known.never_fits(Size(6000, 600), refusals=3) == 2000.0
    assert known.never_fits(Size(10_000, 0), refusals=0) == 2000.0
    assert known.never_fits(Size(0, 2500), refusals=0) == 2000.0
    assert known.never_fits(Size(400, 100), refusals=99) is None
    assert gates().never_fits(Size(10**9, 10**9), refusals=99) is None


async def test_the_outer_guard_lets_no_more_through_than_its_window_holds() -> None:
    """asyncio-throttle itself, on the real clock: 40 a second let 60 through at once and hold the next one back."""
    throttle = RequestThrottle(2400.0)
    for _ in range(60):
        await asyncio.wait_for(throttle.acquire(), 30)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(throttle.acquire(), 0.05)
    throttle.change(None)
    await throttle.acquire()


@pytest.mark.parametrize("per_minute", [0.5, 1.0, 59.0, 60.0, 61.0, 90.0, 3000.0, 10_000.0])
def test_the_outer_guard_never_holds_back_what_the_allowance_lets_through(per_minute: float) -> None:
    """Half more than a second's worth within a second; where not even one passes a second, one in its interval."""
    throttler = RequestThrottle(per_minute)._throttler
    assert throttler is not None
    through = gates(requests=per_minute)
    _, passages = sent(through, 0.0, until=min(600.0, 600 / per_minute * 60))
    times = [passage.at for passage in passages]
    count = int(throttler.rate_limit)
    assert all(last - first >= throttler.period - 1e-6 for first, last in zip(times, times[count:], strict=False))
    assert throttler.rate_limit / throttler.period * 60 <= max(per_minute * 1.5 + 60, 120)
