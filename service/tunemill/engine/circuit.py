"""Sustained failure with no progress opens a circuit: instead of a storm, one probe now and then.

closed ── many failures in a row, for a while, and no success ──> open
open   ── a probe fails: the next one later ──> open
open   ── any success ──> closed
"""

FAILURES_TO_OPEN = 12
QUIET_S_TO_OPEN = 5.0
PROBE_FIRST_S = 1.0
PROBE_MOST_S = 10.0


class Circuit:
    """One model's circuit. Plain: it is told what happened and when, and says when the next request may leave."""

    __slots__ = ("_failing_since", "_opened_at", "_probe_at", "_probe_delay_s", "failures", "progress_at")

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.progress_at = now
        self._failing_since = now
        self._opened_at: float | None = None
        self._probe_at = now
        self._probe_delay_s = PROBE_FIRST_S

    @property
    def is_open(self) -> bool:
        """Whether only probes leave."""
        return self._opened_at is not None

    def delay(self, now: float, *, in_flight: int) -> float | None:
        """Seconds until a request may leave; None: not before the probe that is under way is back."""
        if self._opened_at is None:
            return 0.0
        return None if in_flight else max(0.0, self._probe_at - now)

    def open_for_s(self, now: float) -> float:
        """How long nothing has worked that was tried."""
        return 0.0 if self._opened_at is None else now - self._failing_since

    def rested(self, seconds: float, now: float) -> None:
        """Nothing was tried for so long, on purpose: it counts as no failing."""
        self._failing_since = min(now, self._failing_since + seconds)
        self.progress_at = min(now, self.progress_at + seconds)

    def succeeded(self, now: float) -> bool:
        """The provider answered. True where this closed the circuit."""
        closed = self.is_open
        self.failures, self.progress_at, self._opened_at = 0, now, None
        self._probe_delay_s = PROBE_FIRST_S
        return closed

    def failed(self, *, sent_at: float, now: float) -> bool:
        """An attempt failed for a reason that is not its own. True where this opened the circuit."""
        if self.failures == 0:  # the time before, in which perhaps nothing was tried, is no failing
            self._failing_since = max(sent_at, self.progress_at)
        self.failures += 1
        if self._opened_at is not None:
            if sent_at >= self._opened_at:  # what was under way when it opened is no probe
                self._probe_delay_s = min(PROBE_MOST_S, self._probe_delay_s * 2)
                self._probe_at = now + self._probe_delay_s
            return False
        if self.failures < FAILURES_TO_OPEN or now - self._failing_since < QUIET_S_TO_OPEN:
            return False
        self._opened_at, self._probe_at = now, now + self._probe_delay_s
        return True
