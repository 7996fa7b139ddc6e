"""The limits as plain objects: properties over any times and amounts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.pacing import (
    CATCH_UP_S,
    CONCURRENCY_CUT,
    RATE_CUT,
    RATE_REGAIN_PER_S,
    RATE_SHARE_MIN,
    ConcurrencyLimit,
    RateMeter,
    RequestPacer,
    TokenBucket,
)

RATES = st.floats(1, 100_000)
EPSILON = 1e-6


def leavings(pacer: RequestPacer, waits: list[float]) -> list[float]:
    """When requests leave whose lane looks so many seconds too late each time (or has nothing to send for so long)."""
    now, times = 1000.0, []
    for late in waits:
        now += pacer.delay(now) + late
        assert pacer.delay(now) <= EPSILON
        pacer.take(now)
        times.append(now)
    return times


@given(RATES, st.lists(st.floats(0, 5), min_size=2, max_size=60))
def test_no_window_lets_more_through_than_the_rate_and_the_catching_up(rate: float, waits: list[float]) -> None:
    """In any window: rate x window, one more, and what may be caught up on."""
    times = leavings(RequestPacer(rate), waits)
    for first, last in itertools.combinations(range(len(times)), 2):
        window = times[last] - times[first]
        assert last - first <= rate / 60 * (window + CATCH_UP_S) + 1 + EPSILON


@given(st.floats(1, 10_000), st.lists(st.floats(0, CATCH_UP_S), max_size=40))
def test_being_looked_at_late_costs_no_throughput(rate: float, gaps: list[float]) -> None:
    """The schedule is virtual: at every look, all whose turn has come have left, and the lateness never adds up."""
    pacer, start, now, left = RequestPacer(rate), 1000.0, 1000.0, 0
    for gap in [0.0, *gaps]:
        now += gap
        while pacer.delay(now) <= EPSILON:
            pacer.take(now)
            left += 1
        assert left >= (now - start) * rate / 60 - EPSILON


@given(RATES, st.floats(0, 3600))
def test_idleness_saves_up_no_more_than_the_catching_up(rate: float, idle: float) -> None:
    """After any pause, at most CATCH_UP_S worth of requests leave at once."""
    pacer = RequestPacer(rate)
    pacer.take(0.0)
    at_once = 0
    while pacer.delay(idle) <= 0 and at_once < 10_000:
        pacer.take(idle)
        at_once += 1
    assert at_once <= rate / 60 * CATCH_UP_S + 1 + EPSILON


def test_no_limit_is_no_delay() -> None:
    """And taking changes nothing."""
    pacer = RequestPacer(None)
    pacer.take(5.0)
    assert pacer.delay(5.0) == 0.0


def test_an_episode_of_refusals_cuts_the_rate_once_and_it_grows_back() -> None:
    """Refusals of what was sent before the cut belong to the same episode."""
    pacer = RequestPacer(600.0)
    assert pacer.refused(sent_at=9.0, now=10.0)
    assert not pacer.refused(sent_at=9.5, now=10.2)
    assert not pacer.refused(sent_at=10.0, now=10.9)
    assert pacer.share(10.0) == RATE_CUT
    assert pacer.share(11.0) == RATE_CUT + RATE_REGAIN_PER_S
    assert pacer.share(1000.0) == 1.0
    assert pacer.refused(sent_at=10.5, now=11.0)
    assert pacer.share(11.0) == pytest.approx((RATE_CUT + RATE_REGAIN_PER_S) * RATE_CUT)


@given(st.lists(st.floats(0, 10), max_size=50))
def test_the_share_stays_within_its_bounds(gaps: list[float]) -> None:
    """However often it is cut."""
    pacer, now = RequestPacer(60.0), 0.0
    for gap in gaps:
        now += gap
        pacer.refused(sent_at=now, now=now + 0.1)
        assert RATE_SHARE_MIN <= pacer.share(now + 0.1) <= 1.0


TOKENS = st.lists(st.tuples(st.floats(0, 100_000), st.floats(0, 10)), min_size=1, max_size=40)


@given(st.floats(60, 1_000_000), TOKENS)
def test_the_bucket_never_gives_more_than_its_rate(rate: float, asked: list[tuple[float, float]]) -> None:
    """Over any stretch of requests, large ones included: rate x time, and one second's worth that was saved up."""
    bucket, now, taken = TokenBucket(rate), 50.0, []
    per_second = rate / 60
    for amount, idle in asked:
        now += idle
        now += bucket.delay(now, amount)
        bucket.take(now, amount)
        taken.append((now, amount))
    for first, last in itertools.combinations_with_replacement(range(len(taken)), 2):
        given_out = sum(amount for _, amount in taken[first:last]) + min(taken[last][1], per_second)
        window = taken[last][0] - taken[first][0]
        assert given_out <= per_second * (window + 1) * (1 + EPSILON) + EPSILON


@given(st.floats(60, 1_000_000), TOKENS)
def test_first_come_first_served_and_never_for_ever(rate: float, asked: list[tuple[float, float]]) -> None:
    """Whoever is first in line leaves after what came before is paid off, whatever its size: no one starves it."""
    bucket, now = TokenBucket(rate), 50.0
    for amount, _ in asked:
        before = bucket.level(now)
        delay = bucket.delay(now, amount)
        assert delay <= 1 + max(0.0, -before) / (rate / 60) + EPSILON
        now += delay
        assert bucket.delay(now, amount) <= EPSILON
        bucket.take(now, amount)


def test_a_request_larger_than_a_second_passes_and_is_paid_off() -> None:
    """600 a minute is 10 a second: 100 tokens leave at once and are paid off in 9 seconds; a full one takes 10."""
    bucket = TokenBucket(600.0)
    assert bucket.delay(0.0, 100.0) == 0.0
    bucket.take(0.0, 100.0)
    assert bucket.level(0.0) == -90.0
    assert bucket.delay(0.0, 0.0) == 9.0
    assert bucket.delay(0.0, 100.0) == 10.0
    assert bucket.level(100.0) == 10.0


def test_a_changed_limit_holds_from_now_on() -> None:
    """A lower one cuts what was saved up; a first one begins full; no limit knows no delay."""
    bucket = TokenBucket(6000.0)
    bucket.change(60.0, 5.0)
    assert bucket.level(5.0) == 1.0
    unlimited = TokenBucket(None)
    assert unlimited.delay(0.0, 1e9) == 0.0
    unlimited.take(0.0, 1e9)
    unlimited.change(600.0, 1.0)
    assert unlimited.delay(1.0, 10.0) == 0.0
    assert unlimited.per_minute == 600.0


def test_concurrency_grows_only_while_it_binds() -> None:
    """An answer with room left says nothing about more room."""
    limit = ConcurrencyLimit(100, start=4)
    limit.answered(in_flight=3)
    assert limit.limit == 4
    limit.answered(in_flight=4)
    assert limit.limit == 5


def test_concurrency_is_cut_once_an_episode() -> None:
    """A burst of refusals of what was under way together cuts once."""
    limit = ConcurrencyLimit(100, start=100)
    assert [limit.refused(sent_at=sent, now=10.0) for sent in (8.0, 9.0, 10.0)] == [True, False, False]
    assert limit.limit == int(100 * CONCURRENCY_CUT)
    assert limit.refused(sent_at=10.1, now=11.0)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.one_of(st.integers(0, 400), st.tuples(st.floats(0, 5), st.floats(0, 5))), max_size=60),
)
def test_concurrency_stays_between_one_and_the_most(
    most: int, start: int, happens: list[int | tuple[float, float]]
) -> None:
    """Whatever happens."""
    limit, now = ConcurrencyLimit(most, start=start), 0.0
    for event in happens:
        if isinstance(event, int):
            limit.answered(in_flight=event)
        else:
            now += event[0]
            limit.refused(sent_at=now - event[1], now=now)
        assert 1 <= limit.limit <= most


@given(st.floats(1, 3000), st.floats(61, 300), st.floats(0, 1))
def test_a_steady_rate_reads_as_what_it_is(per_minute: float, seconds: float, offset: float) -> None:
    """But for the second that has passed since the last of it, and the one or two that a bin's edge may hide."""
    meter, interval = RateMeter(), 60 / per_minute
    for number in range(int(seconds / interval) + 1):
        meter.add(1000.25 + number * interval)
    assert meter.per_minute(1000.25 + seconds + offset) == pytest.approx(per_minute, rel=0.03, abs=4)


def test_the_first_minute_reads_as_a_rate_and_the_past_is_forgotten() -> None:
    """Ten in five seconds are 120 a minute; after a quiet minute there is nothing."""
    meter = RateMeter()
    assert meter.per_minute(0.0) == 0.0
    for number in range(10):
        meter.add(100.0 + number / 2)
    assert meter.per_minute(105.0) == 120.0
    assert meter.per_minute(200.0) == 0.0
    meter.add(10_000.0)
    assert len(meter._bins) == 1
