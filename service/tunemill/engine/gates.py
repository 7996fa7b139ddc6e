"""All that may hold a request back at one model, asked in one place: circuit, pause, concurrency, tokens, requests.

Plain: takes times and what happened, says what is shut and for how long. The budget is not here: it is the run's.
"""

from dataclasses import dataclass

from tunemill.engine.circuit import Circuit
from tunemill.engine.pacing import CONCURRENCY_START, ConcurrencyLimit, LaneLimits, RateMeter, RequestPacer, TokenBucket
from tunemill.model import LimitHints, WaitReason
from tunemill.statistics import LimitLevel

RAISE_PER_REPLY = 1.1


@dataclass(frozen=True, slots=True)
class Wait:
    """Why nothing leaves, and for how many seconds (None: until something is told to us)."""

    reason: WaitReason
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A limit that is now another: requests_per_minute, tokens_per_minute or concurrency, and what caused it."""

    kind: str
    limit: float
    cause: str


class Gates:
    """The limits of one model and what its replies taught about them."""

    def __init__(self, limits: LaneLimits, now: float) -> None:
        knows_limits = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
        start = limits.concurrency if knows_limits else CONCURRENCY_START
        self.circuit = Circuit(now)
        self.requests = RateMeter()
        self.tokens = RateMeter()
        self._limits = limits
        self._pacer = RequestPacer(limits.requests_per_minute)
        self._bucket = TokenBucket(limits.tokens_per_minute)
        self._concurrency = ConcurrencyLimit(limits.concurrency, start=start)
        self._pause_until = now

    @property
    def requests_per_minute(self) -> float | None:
        """The limit in force."""
        return self._pacer.per_minute

    @property
    def tokens_per_minute(self) -> float | None:
        """The limit in force."""
        return self._bucket.per_minute

    @property
    def limits(self) -> LaneLimits:
        """The limits that were configured; those in force may be lower, or learned."""
        return self._limits

    def configure(self, limits: LaneLimits, now: float) -> list[Change]:
        """Other limits from now on, raised or lowered. One that is not known any more is learned again."""
        before, self._limits = self._limits, limits
        changes = []
        if limits.requests_per_minute != before.requests_per_minute:
            self._pacer.change(limits.requests_per_minute, now)
            changes.append(Change("requests_per_minute", limits.requests_per_minute or 0.0, "configured"))
        if limits.tokens_per_minute != before.tokens_per_minute:
            self._bucket.change(limits.tokens_per_minute, now)
            changes.append(Change("tokens_per_minute", limits.tokens_per_minute or 0.0, "configured"))
        if limits.concurrency != before.concurrency:
            knows_limits = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
            self._concurrency.change(limits.concurrency, is_known=knows_limits)
            changes.append(Change("concurrency", limits.concurrency, "configured"))
        return changes

    def blocked(self, now: float, *, tokens: int, in_flight: int) -> Wait | None:
        """The first gate that is shut for a request of so many tokens; None: it may leave."""
        probe_s = self.circuit.delay(now)
        if probe_s != 0.0:
            return Wait(WaitReason.OUTAGE, probe_s)
        if not self.circuit.is_open:  # a probe every few seconds asks neither for a slot nor for patience
            if self._pause_until > now:
                return Wait(WaitReason.RETRY_AFTER, self._pause_until - now)
            if in_flight >= self._concurrency.limit:
                return Wait(WaitReason.CONCURRENCY, None)
        tokens_s = self._bucket.delay(now, tokens)
        if tokens_s > 0:
            return Wait(WaitReason.TOKENS_PER_MINUTE, tokens_s)
        requests_s = self._pacer.delay(now)
        return Wait(WaitReason.REQUESTS_PER_MINUTE, requests_s) if requests_s > 0 else None

    def took(self, now: float, *, tokens: int) -> None:
        """A request left."""
        self._pacer.take(now)
        self._bucket.take(now, tokens)
        self.requests.add(now)

    def pause(self, until: float) -> None:
        """The provider asked us to wait."""
        self._pause_until = max(self._pause_until, until)

    def recovered(self) -> None:
        """The provider is back: what it asked for before does not hold any more."""
        self._pause_until = float("-inf")

    def answered(self, *, in_flight: int) -> None:
        """An answer came while so many were under way."""
        self._concurrency.answered(in_flight=in_flight)

    def rate_limited(self, *, sent_at: float, now: float) -> list[Change]:
        """A 429. Where the rate limit is known it is the rate that gives way; where not, the concurrency."""
        per_minute = self._pacer.per_minute
        if per_minute is not None:
            if self._pacer.refused(sent_at=sent_at, now=now):
                return [Change("requests_per_minute", per_minute * self._pacer.share(now), "refused")]
        elif self._concurrency.refused(sent_at=sent_at, now=now):
            return [Change("concurrency", self._concurrency.limit, "refused")]
        return []

    def learn(self, hints: LimitHints, now: float) -> list[Change]:
        """What headers announce: lower is adopted at once, higher gradually, and never above the recipe's own limit."""
        changes = []
        requests = _adopted(self._limits.requests_per_minute, self._pacer.per_minute, hints.requests_per_minute)
        if requests is not None:
            self._pacer.per_minute = requests
            changes.append(Change("requests_per_minute", requests, "announced"))
        tokens = _adopted(self._limits.tokens_per_minute, self._bucket.per_minute, hints.tokens_per_minute)
        if tokens is not None:
            self._bucket.change(tokens, now)
            changes.append(Change("tokens_per_minute", tokens, "announced"))
        return changes

    def levels(self, now: float, *, model: str, in_flight: int) -> list[LimitLevel]:
        """Each limit that is known, with how much of it is used."""
        levels = [LimitLevel(model=model, kind="concurrency", limit=self._concurrency.limit, used=in_flight)]
        for kind, limit, meter in (
            ("requests_per_minute", self._pacer.per_minute, self.requests),
            ("tokens_per_minute", self._bucket.per_minute, self.tokens),
        ):
            if limit is not None:
                levels.append(LimitLevel(model=model, kind=kind, limit=limit, used=meter.per_minute(now)))
        return levels


def _adopted(configured: float | None, current: float | None, announced: int | None) -> float | None:
    """The limit to change to, or None to leave it as it is."""
    if announced is None:
        return None
    wanted = float(announced) if configured is None else min(configured, float(announced))
    if current is None or wanted < current:
        return wanted
    return min(wanted, current * RAISE_PER_REPLY) if wanted > current else None
