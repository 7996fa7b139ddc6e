"""The circuit: each arrow of its picture, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.circuit import (
    EVIDENCE_TO_OPEN,
    FAILURES_TO_OPEN,
    LATE_AFTER_S,
    NEVER_ANSWERED,
    PROBE_FIRST_S,
    PROBE_LATE_S,
    PROBE_MOST_S,
    QUIET_S_TO_OPEN,
    WEIGHTS,
    Circuit,
)
from tunemill.engine.flight import PROBES_OUT_MAX, Silence
from tunemill.model import FailureKind

K = FailureKind
START = 100.0


def lively() -> Circuit:
    """A circuit that has seen an answer."""
    circuit = Circuit(START)
    assert not circuit.succeeded(circuit.left(START), START)
    return circuit


def fail(circuit: Circuit, name: str, now: float, *, kind: FailureKind = K.SERVER_ERROR, in_flight: int = 0) -> bool:
    """An attempt of a request of that name left and failed at that time."""
    ticket = circuit.left(now)
    opened = circuit.failed(name, kind, ticket=ticket, sent_at=now, now=now, in_flight=in_flight)
    circuit.landed(ticket)
    return opened


def opened(at: float = START + QUIET_S_TO_OPEN) -> Circuit:
    """A circuit that has just opened at that time."""
    circuit = lively()
    for number in range(EVIDENCE_TO_OPEN):
        assert not fail(circuit, str(number), START)
    assert circuit.judge(at, in_flight=0)
    return circuit


def test_a_new_circuit_lets_everything_through() -> None:
    """At once, and for as long as nothing happens."""
    circuit = Circuit(START)
    assert not circuit.is_open
    assert circuit.delay(START) == 0.0
    assert circuit.open_for_s(START + 50) == circuit.judged_in_s(START) == 0.0


def test_a_few_requests_that_fail_again_and_again_do_not_open_it() -> None:
    """A row or two that fail are no outage, however often they are tried."""
    circuit = lively()
    for time in range(1000):
        assert not fail(circuit, str(time % (EVIDENCE_TO_OPEN - 1)), START + time)
    assert not circuit.is_open


def test_many_failures_within_a_moment_do_not_open_it_yet() -> None:
    """A blip that cuts a hundred connections at once is over before it is noticed; meanwhile nobody tries again."""
    circuit = lively()
    assert not any(fail(circuit, str(number), START + 1) for number in range(100))
    assert circuit.judged_in_s(START + 1) == pytest.approx(QUIET_S_TO_OPEN)
    assert circuit.succeeded(circuit.left(START + 2), START + 2) is False
    assert circuit.judged_in_s(START + 2) == 0.0


def test_different_requests_that_fail_for_a_while_open_it() -> None:
    """Also when nothing more comes in by which it would be noticed: somebody looks."""
    circuit = opened()
    assert circuit.is_open
    assert circuit.is_outage
    assert circuit.failures == EVIDENCE_TO_OPEN
    assert circuit.delay(START + QUIET_S_TO_OPEN) == PROBE_FIRST_S
    assert not fail(circuit, "another", START + 6)


@pytest.mark.parametrize("kind", sorted(WEIGHTS, key=str))
def test_what_a_failure_says_depends_on_its_kind(kind: FailureKind) -> None:
    """Nobody there: one request is enough. Overloaded, or a gateway's page: three. Whatever may be its own: twelve."""
    needed = -(-EVIDENCE_TO_OPEN // WEIGHTS[kind])
    circuit = lively()
    for number in range(needed - 1):
        for time in range(FAILURES_TO_OPEN):
            assert not fail(circuit, str(number), START + 10 * time, kind=kind)
    opened = [fail(circuit, "one more", START + 100 + 10 * time, kind=kind) for time in range(FAILURES_TO_OPEN)]
    assert any(opened)


def test_where_there_was_never_an_answer_each_failure_says_more() -> None:
    """Three requests that fail and nothing that ever worked."""
    circuit = Circuit(START)
    for number in range(EVIDENCE_TO_OPEN // NEVER_ANSWERED):
        fail(circuit, str(number), START)
    assert circuit.judge(START + QUIET_S_TO_OPEN, in_flight=0)


def test_while_more_is_under_way_than_has_failed_nothing_is_known() -> None:
    """Failures come back at once, answers take their time."""
    circuit = lively()
    assert not any(fail(circuit, str(number), START, in_flight=100) for number in range(50))
    assert not circuit.judge(START + 60, in_flight=51)
    assert circuit.judge(START + 60, in_flight=50)


def test_an_answer_in_between_begins_the_count_again() -> None:
    """It must fail in a row, and whose turn it is is told by a number."""
    circuit = lively()
    for number in range(EVIDENCE_TO_OPEN - 1):
        fail(circuit, str(number), START)
    row = circuit.row
    assert not circuit.succeeded(circuit.left(START), START + 10)
    assert circuit.row == row + 1
    assert not fail(circuit, "x", START + 11)
    assert circuit.failures == circuit.evidence == 1


def test_answers_to_what_left_before_the_trouble_say_nothing() -> None:
    """Long answers that were under way when everything began to fail do not close what opened since."""
    circuit = lively()
    early = [circuit.left(START) for _ in range(9)]
    for number in range(EVIDENCE_TO_OPEN):
        fail(circuit, str(number), START + 1)
    assert not circuit.succeeded(early[0], START + 2)
    assert circuit.failures == EVIDENCE_TO_OPEN
    assert circuit.judge(START + 1 + QUIET_S_TO_OPEN, in_flight=8)
    assert not circuit.succeeded(early[1], START + 5)
    assert circuit.is_open
    assert circuit.succeeded(circuit.left(START + 5), START + 6)


def test_time_in_which_nothing_was_tried_is_no_outage() -> None:
    """An hour of silence, and then failures: it opens after their own while, and is as old as they are."""
    circuit = lively()
    for number in range(EVIDENCE_TO_OPEN * 2):
        assert not fail(circuit, str(number), START + 3600)
    assert circuit.judge(START + 3600 + QUIET_S_TO_OPEN, in_flight=0)
    assert circuit.open_for_s(START + 3610) == 10.0


def test_probes_leave_every_few_seconds_whether_or_not_others_are_back() -> None:
    """Each later than the one before, up to a bound; more seldom in an outage that lasts; so many at a time at most."""
    circuit, now = opened(), START + QUIET_S_TO_OPEN
    began, waits, out = now, [], []
    for _ in range(PROBES_OUT_MAX):
        delay = circuit.delay(now)
        assert delay is not None
        waits.append(delay)
        now += delay
        assert circuit.delay(now) == 0.0
        out.append(circuit.left(now))
    assert waits[0] == PROBE_FIRST_S
    assert waits == sorted(waits)
    assert {wait for at, wait in enumerate(waits) if 3 <= at <= LATE_AFTER_S / PROBE_MOST_S} == {PROBE_MOST_S}
    assert waits[-1] == PROBE_LATE_S
    assert now - began > LATE_AFTER_S
    assert circuit.delay(now + 1000) is None
    circuit.landed(out[3])
    assert circuit.delay(now + 1000) == 0.0


def test_what_was_under_way_when_it_opened_is_no_probe() -> None:
    """A hundred that were on their way come back: the first probe is not put off by that, nor are any more let out."""
    circuit = lively()
    tickets = [circuit.left(START) for _ in range(100)]
    for number in range(EVIDENCE_TO_OPEN):
        fail(circuit, str(number), START)
    assert circuit.judge(START + QUIET_S_TO_OPEN, in_flight=0)
    for number, ticket in enumerate(tickets):
        now = START + QUIET_S_TO_OPEN + 0.5
        circuit.failed(f"old {number}", K.TIMEOUT, ticket=ticket, sent_at=START, now=now, in_flight=0)
        circuit.landed(ticket)
    assert circuit.delay(START + QUIET_S_TO_OPEN + PROBE_FIRST_S) == 0.0


def test_silence_opens_it_and_any_answer_closes_it() -> None:
    """Also one to something that left long before."""
    circuit = lively()
    early = circuit.left(START)
    assert circuit.fell_silent(Silence(5, START + 1), START + 20)
    assert circuit.is_open
    assert not circuit.is_outage
    assert circuit.open_for_s(START + 20) == 19.0
    assert not circuit.fell_silent(Silence(EVIDENCE_TO_OPEN, START + 1), START + 30)
    assert circuit.is_outage
    assert circuit.succeeded(early, START + 31)
    assert circuit.evidence == 0


def test_an_outage_excuses_what_failed_in_it_and_what_left_in_it() -> None:
    """A deadline that passes just after the end is still the outage's fault; what leaves later answers for itself."""
    circuit = opened()
    hangs = circuit.left(START + 10)
    assert circuit.excuses(hangs)
    assert circuit.succeeded(circuit.left(START + 20), START + 21)
    assert circuit.excuses(hangs)
    assert not circuit.failed("hung", K.TIMEOUT, ticket=hangs, sent_at=START + 10, now=START + 90, in_flight=0)
    assert circuit.failures == 0
    assert not circuit.excuses(circuit.left(START + 22))


def test_what_opened_on_little_evidence_excuses_nothing() -> None:
    """It only slows down: those few may be poisonous."""
    circuit = lively()
    ticket = circuit.left(START)
    assert circuit.fell_silent(Silence(3, START), START + 60)
    assert not circuit.excuses(ticket)
    assert circuit.succeeded(circuit.left(START + 61), START + 62)
    assert not circuit.excuses(ticket)


@given(st.lists(st.tuples(st.sampled_from(["left", "failed", "answered"]), st.floats(0, 30), st.integers(0, 30))))
def test_what_it_says_always_makes_sense(happens: list[tuple[str, float, int]]) -> None:
    """Open only after enough failures in a row; waits are bounded; and never more probes than there may be."""
    circuit, now, out = Circuit(START), START, []
    for what, gap, which in happens:
        now += gap
        if what == "left" and circuit.delay(now) == 0.0:
            out.append(circuit.left(now))
        elif what == "failed" and out:
            ticket = out.pop(which % len(out))
            circuit.failed(str(which), K.OVERLOADED, ticket=ticket, sent_at=now - 1, now=now, in_flight=len(out))
            circuit.landed(ticket)
        elif what == "answered" and out:
            ticket = out.pop(which % len(out))
            was_open = circuit.is_open
            assert circuit.succeeded(ticket, now) == (was_open and not circuit.is_open)
            circuit.landed(ticket)
        assert not circuit.is_open or circuit.failures >= FAILURES_TO_OPEN
        assert 0 <= circuit.open_for_s(now) <= now - START + 1
        delay = circuit.delay(now)
        assert delay is None or 0 <= delay <= PROBE_LATE_S
        assert circuit.is_open or delay == 0.0
        assert circuit.evidence >= 0
