"""The limits as plain objects: properties over any times and amounts."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.pacing import MARGIN_S, START_SHARE, USED_SHARE, Allowance, ConcurrencyLimit, RateMeter

RATES = st.floats(1, 100_000)
EPSILON = 1e-6
ASKED = st.lists(st.tuples(st.floats(0, 100_000), st.floats(0, 10)), min_size=1, max_size=40)


def send(allowance: Allowance, now: float, amount: float) -> None:
    """Let through and gone at the same moment."""
    allowance.take(now, amount)
    allowance.left(now, amount, taken_at=now)


def leavings(allowance: Allowance, asked: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """When, and how much, leaves of what is asked for with so much time in between (or that much too late)."""
    now, taken = 1000.0, []
    for amount, late in asked:
        now += allowance.delay(now, amount) + late
        assert allowance.delay(now, amount) <= EPSILON
        send(allowance, now, amount)
        taken.append((now, amount))
    return taken


@given(st.floats(1, 1_000_000), ASKED)
def test_no_stretch_lets_more_through_than_a_providers_bucket_holds(
    per_minute: float, asked: list[tuple[float, float]]
) -> None:
    """A bucket of one second's worth that refills evenly never refuses: large requests, lateness and all."""
    taken = leavings(Allowance(per_minute, 1000.0), asked)
    capacity = max(1.0, per_minute / 60)
    level, at = capacity, 1000.0
    for now, amount in taken:
        level, at = min(capacity, level + (now - at) * per_minute / 60), now
        assert level >= min(amount, capacity) * (1 - EPSILON)
        level -= amount


@given(st.floats(600, 100_000), st.lists(st.floats(0, 0.2), min_size=1, max_size=60))
def test_half_a_second_of_lateness_costs_nothing(per_minute: float, gaps: list[float]) -> None:
    """However late within it the lane looks: at every look all whose turn has come have left."""
    allowance, now, left = Allowance(per_minute, 1000.0), 1000.0, 0
    for gap in gaps:
        now += gap
        while allowance.delay(now, 1.0) <= 0:
            send(allowance, now, 1.0)
            left += 1
        assert left >= (now - 1000.0) * per_minute / 60 * USED_SHARE - 1


@given(st.floats(600, 100_000), st.floats(0, 3600))
def test_idleness_saves_up_half_a_second_and_no_more(per_minute: float, idle: float) -> None:
    """After any pause, at most so much leaves at once."""
    allowance, now, at_once = Allowance(per_minute, 0.0), idle, 0
    while allowance.delay(now, 1.0) <= 0:
        send(allowance, now, 1.0)
        at_once += 1
    assert at_once <= per_minute / 60 / 2 + 1


@given(st.floats(60, 1_000_000), ASKED)
def test_first_come_first_served_and_never_for_ever(per_minute: float, asked: list[tuple[float, float]]) -> None:
    """Whoever is first leaves after what came before is paid off, whatever its size: no one starves it."""
    allowance, now = Allowance(per_minute, 50.0), 50.0
    per_s = per_minute / 60 * USED_SHARE
    for amount, _ in asked:
        before = allowance.level(now)
        delay = allowance.delay(now, amount)
        assert delay <= (allowance.capacity + max(0.0, -before)) / per_s + EPSILON
        now += delay
        send(allowance, now, amount)


def test_no_limit_is_no_delay() -> None:
    """And taking changes nothing, until there is one."""
    allowance = Allowance(None, 0.0)
    send(allowance, 5.0, 1e9)
    allowance.empty(6.0)
    assert allowance.delay(6.0, 1e9) == 0.0
    allowance.change(6000.0, 7.0)
    assert allowance.level(7.0) == 100.0 * START_SHARE


def test_a_request_larger_than_a_second_waits_for_a_full_bucket_and_is_paid_off() -> None:
    """6000 a minute is 100 a second: it leaves when 100 are there, and 500 take five seconds more."""
    allowance = Allowance(6000.0, 0.0)
    assert allowance.delay(0.0, 500.0) == pytest.approx(0.25 / USED_SHARE)
    send(allowance, 1.0, 500.0)
    margin = MARGIN_S * 100 * USED_SHARE
    assert allowance.level(1.0) == pytest.approx(-400.0 - margin)
    assert allowance.delay(1.0, 500.0) == pytest.approx((500 + margin) / 100 / USED_SHARE)


def test_what_leaves_late_costs_only_what_the_bucket_could_not_hold() -> None:
    """Half empty, nothing is lost within half a second; full, every moment is."""
    half, full = Allowance(6000.0, 0.0), Allowance(6000.0, 0.0)
    half.take(0.0, 1.0)
    half.left(0.2, 1.0, taken_at=0.0)
    assert half.level(0.2) == pytest.approx(75.0 - 1.0 + 0.2 * 100 * USED_SHARE)
    full.take(10.0, 100.0)
    full.left(10.2, 100.0, taken_at=10.0)
    assert full.level(10.2) == pytest.approx(0.0, abs=0.5)


def test_a_disk_that_stands_still_is_waited_for_once() -> None:
    """Whatever waits to be written down bunches up; it is bounded, and what was lost is not lost again for each."""
    allowance, now, waiting = Allowance(6000.0, 0.0), 0.0, []
    while now < 3.0:
        wait_s = allowance.delay(now, 1.0)
        if wait_s == 0.0:
            allowance.take(now, 1.0)
            waiting.append(now)
        now += max(wait_s, 0.001)
    assert len(waiting) <= 51
    for taken_at in waiting:
        allowance.left(now, 1.0, taken_at=taken_at)
    assert allowance.delay(now, 1.0) < 0.2


@pytest.mark.parametrize("late_s", [0.05, 0.3, 0.8])
def test_a_disk_that_is_always_slow_costs_nothing_in_the_long_run(late_s: float) -> None:
    """That all leave late is no reason to send less."""
    allowance, now, waiting, left = Allowance(6000.0, 0.0), 0.0, deque[float](), 0
    while now < 30.0:
        while waiting and waiting[0] + late_s <= now:
            allowance.left(now, 1.0, taken_at=waiting.popleft())
            left += now > 10.0
        wait_s = allowance.delay(now, 1.0)
        if wait_s == 0.0:
            allowance.take(now, 1.0)
            waiting.append(now)
        else:
            now += min(wait_s, 0.005)
    assert left >= 20 * 100 * 0.98


def test_a_changed_limit_holds_from_now_on() -> None:
    """A lower one cuts what was saved up, a higher one adds what its bucket holds more; none is no delay."""
    allowance = Allowance(6000.0, 0.0)
    allowance.change(600.0, 5.0)
    assert allowance.level(5.0) == 10.0
    send(allowance, 5.0, 10.0)
    allowance.change(1200.0, 5.0)
    assert allowance.level(5.0) == pytest.approx(10.0, abs=0.1)
    allowance.change(None, 5.0)
    assert allowance.delay(5.0, 1e9) == 0.0


def test_the_provider_is_believed_about_what_is_left() -> None:
    """Less than thought, or more, but never more than a bucket holds."""
    allowance = Allowance(6000.0, 0.0)
    allowance.empty(0.0, 20.0)
    assert allowance.level(0.0) == 20.0
    allowance.empty(0.0, 50.0)
    assert allowance.level(0.0) == 20.0
    allowance.put(0.0, 30.0)
    assert allowance.level(0.0) == 30.0
    allowance.give(0.0, 1000.0)
    assert allowance.level(0.0) == 100.0


def test_concurrency_grows_only_while_it_binds() -> None:
    """An answer with room left says nothing about more room."""
    limit = ConcurrencyLimit(100, start=4)
    limit.answered(in_flight=3)
    assert limit.limit == 4
    limit.answered(in_flight=4)
    assert limit.limit == 5


@given(st.integers(1, 300), st.integers(1, 300), st.lists(st.integers(0, 400), max_size=60))
def test_concurrency_stays_between_one_and_the_most(most: int, start: int, answered: list[int]) -> None:
    """Whatever happens, and also when the most is changed."""
    limit = ConcurrencyLimit(most, start=start)
    for in_flight in answered:
        limit.answered(in_flight=in_flight)
        assert 1 <= limit.limit <= most
    limit.change(7, is_known=True)
    assert limit.limit == 7
    limit.change(3, is_known=False)
    assert limit.limit == 3


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
