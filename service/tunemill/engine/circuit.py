"""Whether a provider is out, told from what becomes of requests. Then a circuit opens: instead of a storm, a probe
every few seconds, whether or not earlier ones are back.

closed ── many different requests fail in a row, for a while, and none is answered ──────> open
closed ── many are in flight, none answered for far longer than answers used to take ────> open
open   ── an answer to something that left after the failing began (or to anything that was silent) ──> closed

Requests may be at fault themselves: a few poisonous rows that fail again and again are no outage. So it is different
requests that count, each by what its failure says of the provider; and only where those suffice is an outage nobody's
fault (`excuses`). What opens on less evidence only slows down.
"""

from collections.abc import Mapping

from tunemill.engine.flight import PROBES_OUT_MAX, Silence
from tunemill.model import FailureKind

EVIDENCE_TO_OPEN = 12
FAILURES_TO_OPEN = 3  # attempts, however much each one says
QUIET_S_TO_OPEN = 3.0
PROBE_FIRST_S = 1.0
PROBE_MOST_S = 4.0
PROBE_LATE_S = 8.0  # in an outage that lasts: each probe may cost money that is never seen again
LATE_AFTER_S = 180.0
NEVER_ANSWERED = 4  # so much more a failure says while there was never an answer

# What one failed request says of the provider. Nobody there: never the request's fault. The rest may be.
WEIGHTS: Mapping[FailureKind, int] = {
    FailureKind.NOT_CONNECTED: EVIDENCE_TO_OPEN,
    FailureKind.OVERLOADED: 4,
    FailureKind.GATEWAY_ERROR: 4,
    FailureKind.SERVER_ERROR: 1,
    FailureKind.TIMEOUT: 1,
    FailureKind.DISCONNECTED: 1,
    FailureKind.BAD_REPLY: 1,
}


class Circuit:
    """One model's circuit. Plain: it is told what happened and when, and says when the next request may leave.

    Each request that leaves gets a ticket, a number that grows, by which it is known whether it left before or after.
    """

    __slots__ = (
        "_closed_ticket",
        "_failing_since",
        "_has_answered",
        "_is_silence",
        "_opened_at",
        "_opened_ticket",
        "_probe_at",
        "_probes",
        "_probes_out",
        "_silent",
        "_suspect_ticket",
        "_suspects",
        "_tickets",
        "failures",
        "progress_at",
        "row",
    )

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.row = 0  # how many rows of failures there were; another one begins after every answer
        self.progress_at = now
        self._has_answered = False
        self._failing_since = now
        self._suspects: dict[str, int] = {}  # the requests that failed in this row, and what each says
        self._silent = 0
        self._is_silence = False
        self._tickets = 0
        self._suspect_ticket = 0  # the last that had left when the row began
        self._opened_at: float | None = None
        self._opened_ticket = 0
        self._closed_ticket = 0  # the last that had left when an outage ended
        self._probe_at = now
        self._probes = 0
        self._probes_out = 0

    @property
    def is_open(self) -> bool:
        """Whether only probes leave."""
        return self._opened_at is not None

    @property
    def evidence(self) -> int:
        """How sure it is that this is an outage; EVIDENCE_TO_OPEN is sure."""
        return sum(self._suspects.values()) * (1 if self._has_answered else NEVER_ANSWERED) + self._silent

    def excuses(self, ticket: int) -> bool:
        """Whether a failure of what left with this ticket is an outage's fault, and not its own."""
        return ticket <= self._closed_ticket or self.is_outage

    @property
    def is_outage(self) -> bool:
        """Whether it is open, and surely for the provider's fault."""
        return self.is_open and self.evidence >= EVIDENCE_TO_OPEN

    def delay(self, now: float) -> float | None:
        """Seconds until a request may leave; None: not before some probe is back."""
        if self._opened_at is None:
            return 0.0
        return None if self._probes_out >= PROBES_OUT_MAX else max(0.0, self._probe_at - now)

    def judged_in_s(self, now: float) -> float:
        """Seconds until it is known whether a row of failures is an outage: so long nobody need try again."""
        if self.is_open or len(self._suspects) < FAILURES_TO_OPEN:
            return 0.0
        return max(0.0, self._failing_since + QUIET_S_TO_OPEN - now)

    def open_for_s(self, now: float) -> float:
        """How long nothing has worked that was tried."""
        return 0.0 if self._opened_at is None else now - self._failing_since

    def rested(self, seconds: float, now: float) -> None:
        """Nothing was tried for so long, on purpose: it counts as no failing."""
        self._failing_since = min(now, self._failing_since + seconds)
        self.progress_at = min(now, self.progress_at + seconds)

    # -- what happens --------------------------------------------------------------------------------------------

    def left(self, now: float) -> int:
        """A request leaves; gives its ticket."""
        self._tickets += 1
        if self._opened_at is not None:
            self._probes += 1
            self._probes_out += 1
            is_late = now - self._opened_at >= LATE_AFTER_S
            self._probe_at = now + (PROBE_LATE_S if is_late else min(PROBE_MOST_S, PROBE_FIRST_S * 2**self._probes))
        return self._tickets

    def landed(self, ticket: int) -> None:
        """It is not under way any more, whatever became of it."""
        if self.is_open and ticket > self._opened_ticket:
            self._probes_out -= 1

    def succeeded(self, ticket: int, now: float) -> bool:
        """The provider answered. True where this closed the circuit."""
        self._has_answered = True
        if not self._is_silence and self.failures and ticket <= self._suspect_ticket:
            return False  # it was let in before the trouble began
        closed = self.is_open
        if self.is_outage:
            self._closed_ticket = self._tickets
        if self.failures or closed:
            self.row += 1
            self._suspects.clear()
        self.failures, self.progress_at, self._opened_at = 0, now, None
        self._silent, self._is_silence = 0, False
        return closed

    def failed(
        self, request_id: str, kind: FailureKind, *, ticket: int, sent_at: float, now: float, in_flight: int
    ) -> bool:
        """An attempt failed for a reason that may be the provider's, while so many others are under way. True where
        this opened the circuit."""
        if ticket <= self._closed_ticket:
            return False
        if self.failures == 0:
            if not self.is_open:  # the time before, in which perhaps nothing was tried, is no failing
                self._failing_since = max(sent_at, self.progress_at)
            self._suspect_ticket = self._tickets
        self.failures += 1
        self._suspects[request_id] = max(WEIGHTS[kind], self._suspects.get(request_id, 0))
        return self.judge(now, in_flight=in_flight)

    def judge(self, now: float, *, in_flight: int) -> bool:
        """Whether what failed so far is an outage by now. True where this opened the circuit."""
        if self.is_open or self.failures < FAILURES_TO_OPEN or now - self._failing_since < QUIET_S_TO_OPEN:
            return False
        # Failures come back sooner than answers: while more is under way than has failed, nothing is known.
        if self.evidence < EVIDENCE_TO_OPEN or in_flight > self.failures:
            return False
        self._open(now)
        return True

    def fell_silent(self, silence: Silence, now: float) -> bool:
        """Nobody is answered any more. True where this opened the circuit."""
        self._silent = silence.requests
        if self.is_open:
            return False
        self._is_silence = True
        self._failing_since = silence.since
        self._open(now)
        return True

    def _open(self, now: float) -> None:
        self._opened_at, self._opened_ticket = now, self._tickets
        self._probe_at = now + PROBE_FIRST_S
        self._probes = self._probes_out = 0
