"""The circuit: each arrow of its picture, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.circuit import FAILURES_TO_OPEN, PROBE_FIRST_S, PROBE_MOST_S, QUIET_S_TO_OPEN, Circuit

START = 100.0


def opened(at: float = START + QUIET_S_TO_OPEN) -> Circuit:
    """A circuit that has just opened at that time."""
    circuit = Circuit(START)
    for _ in range(FAILURES_TO_OPEN - 1):
        assert not circuit.failed(sent_at=START, now=START + 1)
    assert circuit.failed(sent_at=START, now=at)
    return circuit


def test_a_new_circuit_lets_everything_through() -> None:
    """Whatever is in flight."""
    circuit = Circuit(START)
    assert not circuit.is_open
    assert circuit.delay(START, in_flight=0) == circuit.delay(START, in_flight=99) == 0.0
    assert circuit.open_for_s(START + 50) == 0.0


def test_few_failures_do_not_open_it_however_long() -> None:
    """A row or two that fail are not an outage."""
    circuit = Circuit(START)
    assert not any(circuit.failed(sent_at=START, now=START + 100 * n) for n in range(FAILURES_TO_OPEN - 1))
    assert not circuit.is_open


def test_many_failures_within_a_moment_do_not_open_it() -> None:
    """A blip that cuts a hundred connections at once is over before it is noticed."""
    circuit = Circuit(START)
    assert not any(circuit.failed(sent_at=START + 1000, now=START + 1001) for _ in range(100))


def test_many_failures_for_a_while_open_it() -> None:
    """The one that completes both conditions, and only that one, says so."""
    circuit = opened()
    assert circuit.is_open
    assert circuit.failures == FAILURES_TO_OPEN
    assert circuit.delay(START + QUIET_S_TO_OPEN, in_flight=0) == PROBE_FIRST_S
    assert not circuit.failed(sent_at=START, now=START + 6)


def test_a_success_in_between_begins_the_count_again() -> None:
    """It must fail in a row."""
    circuit = Circuit(START)
    for _ in range(FAILURES_TO_OPEN - 1):
        circuit.failed(sent_at=START, now=START + 10)
    assert not circuit.succeeded(START + 10)
    assert not circuit.failed(sent_at=START, now=START + 11)
    assert circuit.failures == 1


def test_time_in_which_nothing_was_tried_is_no_outage() -> None:
    """An hour of silence, and then failures: it opens after their own while, and is as old as they are."""
    circuit = Circuit(START)
    for _ in range(FAILURES_TO_OPEN * 2):
        assert not circuit.failed(sent_at=START + 3600, now=START + 3601)
    assert circuit.failed(sent_at=START + 3604, now=START + 3600 + QUIET_S_TO_OPEN)
    assert circuit.open_for_s(START + 3610) == 10.0


def test_one_probe_at_a_time_each_later_than_the_last() -> None:
    """While one is under way there is no time to wait for; after it failed, twice as long, up to a bound."""
    circuit, now = opened(), START + QUIET_S_TO_OPEN
    delays = []
    for _ in range(8):
        delay = circuit.delay(now, in_flight=0)
        assert delay is not None
        delays.append(delay)
        now += delay
        assert circuit.delay(now, in_flight=0) == 0.0
        assert circuit.delay(now, in_flight=1) is None
        circuit.failed(sent_at=now, now=now)
    assert delays[0] == PROBE_FIRST_S
    assert delays[-1] == PROBE_MOST_S
    assert delays == sorted(delays)


def test_what_was_under_way_when_it_opened_is_no_probe() -> None:
    """A hundred answers that were on their way all fail: the first probe is not put off by that."""
    circuit = opened()
    for _ in range(100):
        circuit.failed(sent_at=START + 1, now=START + QUIET_S_TO_OPEN + 0.5)
    assert circuit.delay(START + QUIET_S_TO_OPEN + PROBE_FIRST_S, in_flight=0) == 0.0


def test_any_success_closes_it() -> None:
    """And the next outage begins with the first probe's delay again."""
    circuit = opened()
    circuit.failed(sent_at=START + 19, now=START + 20)
    assert circuit.succeeded(START + 30)
    assert not circuit.is_open
    assert circuit.delay(START + 30, in_flight=5) == 0.0
    assert not circuit.succeeded(START + 31)
    for _ in range(FAILURES_TO_OPEN):
        circuit.failed(sent_at=START + 31, now=START + 40)
    assert circuit.delay(START + 40, in_flight=0) == PROBE_FIRST_S


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30), st.floats(0, 30)), max_size=80))
def test_what_it_says_always_makes_sense(happens: list[tuple[bool, float, float]]) -> None:
    """Open only after enough failures in a row; open for no longer than since the last success; waits are bounded."""
    circuit, now, row, progress = Circuit(START), START, 0, START
    for is_success, gap, took in happens:
        now += gap
        if is_success:
            was_open = circuit.is_open
            assert circuit.succeeded(now) == was_open
            row, progress = 0, now
        else:
            circuit.failed(sent_at=now - took, now=now)
            row += 1
        assert circuit.failures == row
        assert not circuit.is_open or row >= FAILURES_TO_OPEN
        assert 0 <= circuit.open_for_s(now) <= now - progress
        delay = circuit.delay(now, in_flight=0)
        assert delay is not None
        assert 0 <= delay <= PROBE_MOST_S
        assert circuit.is_open or delay == pytest.approx(0.0)
