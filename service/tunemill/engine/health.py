"""What a lane knows of its provider's health: it tells the circuit what happens, and looks at what does not happen.

Silence makes no event, so that while something is in flight a timer looks now and then: who is late, whether a row of
failures has become an outage, and how long it has lasted. Nothing in flight and nothing failing: no timer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tunemill.clock import Clock, Timer
from tunemill.engine.circuit import EVIDENCE_TO_OPEN, PROBE_MOST_S, Circuit
from tunemill.engine.flight import PATIENCE_MIN_S, Flights, Silence
from tunemill.engine.work import Job
from tunemill.events import CircuitChanged
from tunemill.model import Failure, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Whom it tells: events, that the circuit opened or closed, and that it looked; `has_more` is whether something
    waits to be sent."""

    emit: Callable[[CircuitChanged], None]
    changed: Callable[[bool], None]
    looked: Callable[[], None]
    has_more: Callable[[], bool]


class Health:
    """See the module."""

    def __init__(self, lane: Lane, circuit: Circuit, clock: Clock, listener: Listener) -> None:
        self.last = ""  # what was said last of what is wrong
        self._lane = lane
        self._circuit = circuit
        self._clock = clock
        self._listener = listener
        self._flights = Flights(clock.monotonic())
        self._timer: Timer | None = None
        self._timer_at = 0.0

    @property
    def holding(self) -> int:
        """How many in flight hold a slot: what hangs does not."""
        return self._flights.holding

    def left(self, job: Job) -> None:
        """A request leaves."""
        now = self._clock.monotonic()
        job.ticket = self._circuit.left(now)
        self._flights.left(job, now)
        if self._timer is None:
            self._look_at(now, now + PATIENCE_MIN_S)

    def landed(self, job: Job) -> None:
        """It is not under way any more."""
        self._flights.landed(job)
        self._circuit.landed(job.ticket)

    def answered(self, job: Job, now: float) -> None:
        """The provider answered a request."""
        self.lives(job, now)
        self._flights.answered(job, now)

    def lives(self, job: Job, now: float) -> None:
        """The provider has read a request, whatever it says of it."""
        self._flights.replied(now)
        if self._circuit.succeeded(job.ticket, now):
            self._flights.strand(job.ticket)
            self._listener.emit(CircuitChanged(lane=self._lane, is_open=False, failures=0))
            self._listener.changed(False)

    def replied(self, now: float) -> None:
        """The provider said something."""
        self._flights.replied(now)

    def failed(self, job: Job, failure: Failure, *, sent_at: float, now: float) -> None:
        """An attempt failed for a reason that may be the provider's."""
        self.last = failure.message
        others = self._flights.holding - 1
        if self._circuit.failed(
            job.request.id, failure.kind, ticket=job.ticket, sent_at=sent_at, now=now, in_flight=others
        ):
            self._opened(failure.message)
        elif not self._circuit.is_open:
            self._look_at(now, now + self._circuit.judged_in_s(now))

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        self._flights.look(now)
        silence = self._flights.silence(now)
        if silence is not None and self._matters(silence):
            said = f"{silence.requests} requests are in flight and none was answered for {now - silence.since:.0f} s"
            if self._circuit.fell_silent(silence, now):
                self.last = said
                self._opened(said, is_silence=self._listener.has_more())
        elif self._circuit.judge(now, in_flight=self._flights.holding):
            self._opened(self.last)
        self._listener.looked()
        self._look_again(now)

    def _matters(self, silence: Silence) -> bool:
        """A few that are late hold up nobody where nothing waits: they are waited for."""
        return silence.requests >= EVIDENCE_TO_OPEN or self._circuit.is_open or self._listener.has_more()

    def _look_again(self, now: float) -> None:
        in_s = self._flights.look_in_s(now)
        if self._circuit.is_open:
            in_s = PROBE_MOST_S
        elif self._circuit.failures and (judged_in_s := self._circuit.judged_in_s(now)):
            in_s = judged_in_s
        if in_s is not None:
            self._look_at(now, now + in_s)

    def _look_at(self, now: float, at: float) -> None:
        """Look at that time, unless there will be a look before."""
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._clock.call_later(max(0.0, at - now), self._look), at

    def _opened(self, reason: str, *, is_silence: bool = False) -> None:
        opened = CircuitChanged(
            lane=self._lane,
            is_open=True,
            failures=self._circuit.failures,
            reason=reason,
            is_silence=is_silence,
        )
        self._listener.emit(opened)
        self._listener.changed(True)
        self._look_at(self._clock.monotonic(), self._clock.monotonic() + PROBE_MOST_S)
