"""What is in flight: who holds a slot, who is late, and when nobody is answered any more."""

from tests.engine.engine_support import MODEL

from tunemill.engine.flight import (
    FEW,
    LOOK_S,
    PATIENCE_MIN_S,
    PATIENCE_TIMES_SLOWEST,
    SILENCE_MIN_S,
    Flights,
    Silence,
    in_flight_most,
)
from tunemill.engine.size import Size
from tunemill.engine.work import Job
from tunemill.model import Request


def job(ticket: int = 0, step: str = "plot") -> Job:
    request = Request(
        id=str(ticket), row_id="", step=step, sample=0, lane=MODEL, path="", body=b"", input_tokens_max=1,
        output_tokens_max=1,
    )  # fmt: skip
    return Job(request=request, places=[], worst=1, size=Size(4, 1), ticket=ticket)


def knowing(took_s: float, step: str = "plot") -> Flights:
    """Flights that have seen an answer take so long, at time 0."""
    flights = Flights(-took_s)
    first = job(step=step)
    flights.left(first, -took_s)
    flights.answered(first, 0.0)
    flights.landed(first)
    return flights


def test_whoever_is_in_flight_holds_a_slot_until_it_lands_or_is_late() -> None:
    """Late is what takes several times as long as the slowest answer, and never less than a good while."""
    flights = knowing(20.0)
    jobs = [job(number) for number in range(3)]
    for number, one in enumerate(jobs):
        flights.left(one, float(number))
    assert flights.holding == 3
    patience_s = PATIENCE_TIMES_SLOWEST * 20.0
    flights.look(patience_s - 0.1)
    assert flights.holding == 3
    flights.look(patience_s + 1.0)
    assert flights.holding == 1
    for one in jobs:
        flights.landed(one)
    assert flights.holding == 0
    assert flights.silence(1e9) is None
    assert flights.look_in_s(1e9) is None


def test_a_step_that_was_never_answered_is_never_late() -> None:
    """Nothing is known of how long it takes, whatever other steps take."""
    flights = knowing(1.0)
    flights.left(job(step="essay"), 0.0)
    flights.look(10_000.0)
    assert flights.holding == 1
    assert flights.silence(10_000.0) is None


def test_silence_is_many_late_and_no_reply() -> None:
    """A reply of any kind in between and it is none; a few are given twice the time."""
    flights = knowing(1.0)
    for number in range(FEW):
        flights.left(job(number), 0.0)
    flights.look(PATIENCE_MIN_S)
    assert flights.silence(SILENCE_MIN_S - 0.1) is None
    assert flights.silence(SILENCE_MIN_S) == Silence(FEW, 0.0)
    flights.replied(SILENCE_MIN_S)
    assert flights.silence(SILENCE_MIN_S + 1.0) is None
    flights = knowing(1.0)
    flights.left(job(), 0.0)
    flights.look(PATIENCE_MIN_S)
    assert flights.holding == 0
    assert flights.silence(SILENCE_MIN_S * 2 - 0.1) is None
    assert flights.silence(SILENCE_MIN_S * 2) == Silence(1, 0.0)


def test_an_answer_that_came_late_teaches_patience_and_one_that_an_outage_held_up_does_not() -> None:
    """Long answers exist; two minutes of nobody there are no answer's time."""
    flights = knowing(1.0)
    late = job(1)
    flights.left(late, 0.0)
    flights.look(30.0)
    flights.answered(late, 30.0)
    flights.landed(late)
    flights.left(job(2), 30.0)
    flights.look(30.0 + PATIENCE_TIMES_SLOWEST * 30.0 - 1.0)
    assert flights.holding == 1
    flights = knowing(1.0)
    held = job(1)
    flights.left(held, 0.0)
    flights.look(120.0)
    flights.strand(ticket=2)
    flights.answered(held, 120.0)
    flights.landed(held)
    flights.left(job(3), 120.0)
    flights.look(120.0 + PATIENCE_MIN_S)
    assert flights.holding == 0


def test_what_left_before_the_one_that_was_answered_is_stranded() -> None:
    """It holds no slot and makes no silence any more; what left after it does as before."""
    flights = knowing(1.0)
    jobs = [job(number, step) for number, step in enumerate(["plot", "essay", "plot", "essay"], 1)]
    for one in jobs:
        flights.left(one, 0.0)
    flights.strand(ticket=3)
    assert flights.holding == 2
    for one in jobs:
        flights.landed(one)
    assert flights.holding == 0


def test_it_says_when_to_look_again() -> None:
    """When the oldest may become late; now and then where that is not known, or where somebody is late."""
    flights = knowing(1.0)
    assert flights.look_in_s(0.0) is None
    flights.left(job(1), 0.0)
    flights.left(job(2), 2.0)
    assert flights.look_in_s(2.0) == PATIENCE_MIN_S - 2.0
    flights.look(PATIENCE_MIN_S)
    assert flights.look_in_s(PATIENCE_MIN_S) == LOOK_S


def test_everything_in_flight_is_bounded() -> None:
    """Those that hold slots, as many that hang, and the probes."""
    assert in_flight_most(1) == 66
    assert in_flight_most(10_000) == 20_064
