"""All that may hold a request back at one model, asked in one place: circuit, pause, concurrency, tokens, requests.

Plain: takes times and what happened, says what is shut and for how long. The budget is not here: it is the run's.
"""

from dataclasses import dataclass

from tunemill.engine.attribution import Attribution
from tunemill.engine.calibration import Calibration
from tunemill.engine.circuit import Circuit
from tunemill.engine.pacing import CONCURRENCY_START, ConcurrencyLimit, LaneLimits, RateMeter
from tunemill.engine.passage import Passage
from tunemill.engine.rates import Change, RateLimit
from tunemill.engine.size import Size
from tunemill.frozen import quickly_made
from tunemill.model import Failure, LimitedBy, LimitHints, WaitReason
from tunemill.statistics import LimitLevel

TOO_LARGE_REFUSALS = 3


@quickly_made
@dataclass(frozen=True, slots=True)
class Wait:
    """Why nothing leaves, and for how many seconds (None: until something is told to us)."""

    reason: WaitReason
    seconds: float | None


class Gates:
    """The limits of one model and what its replies taught about them."""

    def __init__(self, limits: LaneLimits, now: float) -> None:
        knows_limits = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
        start = limits.concurrency if knows_limits else CONCURRENCY_START
        self.circuit = Circuit(now)
        self.tokens = RateMeter()
        self._limits = limits
        self._requests = RateLimit("requests_per_minute", limits.requests_per_minute, now, starting=not knows_limits)
        self._tokens = RateLimit("tokens_per_minute", limits.tokens_per_minute, now, starting=False)
        self._calibration = Calibration()
        self._attribution = Attribution()
        self._concurrency = ConcurrencyLimit(limits.concurrency, start=start)
        self._pause_until = now

    @property
    def requests(self) -> RateMeter:
        """What left within the last minute."""
        return self._requests.used

    @property
    def requests_per_minute(self) -> float | None:
        """The limit that is known: the recipe's or what is announced, whichever is lower."""
        return self._requests.known

    @property
    def tokens_per_minute(self) -> float | None:
        """The limit that is known: the recipe's or what is announced, whichever is lower."""
        return self._tokens.known

    @property
    def limits(self) -> LaneLimits:
        """The limits that were configured; those in force may be lower, or learned."""
        return self._limits

    def configure(self, limits: LaneLimits, now: float) -> list[Change]:
        """Other limits from now on, raised or lowered. One that is not known any more is learned again."""
        before, self._limits = self._limits, limits
        changes = self._requests.configure(limits.requests_per_minute, now)
        changes += self._tokens.configure(limits.tokens_per_minute, now)
        if limits.concurrency != before.concurrency:
            knows_limits = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
            self._concurrency.change(limits.concurrency, is_known=knows_limits)
            changes.append(Change("concurrency", limits.concurrency, "configured"))
        return changes

    def tokens_of(self, size: Size) -> float:
        """About what the provider will count for a request of this size, as far as is known."""
        return self._calibration.expected(size)

    def never_fits(self, size: Size, *, refusals: int) -> float | None:
        """The token limit that a request of this size exceeds for ever; None where it may fit.

        By the lowest count that any provider is known to make it is too large at once; by what is expected, only when
        it was refused a few times, because expectations may be wrong.
        """
        limit = self._tokens.known
        if limit is None:
            return None
        is_refused = refusals >= TOO_LARGE_REFUSALS and self.tokens_of(size) > limit
        return limit if is_refused or size.least > limit else None

    def blocked(self, now: float, *, size: Size, in_flight: int) -> Wait | None:
        """The first gate that is shut for a request of this size; None: it may leave."""
        probe_s = self.circuit.delay(now)
        if probe_s != 0.0:
            return Wait(WaitReason.OUTAGE, probe_s)
        if not self.circuit.is_open:  # a probe every few seconds asks neither for a slot nor for patience
            if self._pause_until > now:
                return Wait(WaitReason.RETRY_AFTER, self._pause_until - now)
            if in_flight >= self._concurrency.limit:
                return Wait(WaitReason.CONCURRENCY, None)
        if self._tokens.in_force is not None:
            tokens_s = self._tokens.delay(now, self.tokens_of(size))
            if tokens_s > 0:
                return Wait(WaitReason.TOKENS_PER_MINUTE, tokens_s)
        requests_s = self._requests.delay(now, 1.0)
        return Wait(WaitReason.REQUESTS_PER_MINUTE, requests_s) if requests_s > 0 else None

    def took(self, now: float, *, size: Size) -> Passage:
        """A request is let through."""
        requests, tokens = self._requests.take(now, 1.0), self._tokens.take(now, self.tokens_of(size))
        self._attribution.left(tokens.amount)
        return Passage(now, size, self._calibration.took(size, now), requests, tokens)

    def left(self, passage: Passage, now: float) -> None:
        """It really left now: between, it was written down."""
        self._requests.left(passage.requests, now)
        self._tokens.left(passage.tokens, now)
        passage.mark.at = now

    def pause(self, until: float) -> None:
        """The provider asked us to wait."""
        self._pause_until = max(self._pause_until, until)

    def recovered(self) -> None:
        """The provider is back: what it asked for before does not hold any more."""
        self._pause_until = float("-inf")

    def answered(self, passage: Passage, *, input_tokens: int | None, in_flight: int) -> None:
        """An answer came while so many were under way."""
        self._concurrency.answered(in_flight=in_flight)
        if input_tokens is not None:
            self._calibration.used(passage.size, input_tokens)

    def rate_limited(self, passage: Passage, failure: Failure, now: float) -> list[Change]:
        """A 429. It is the rate of the limit it names that gives way, or of the one that it seems to be."""
        self._calibration.refused(passage.mark)
        by = failure.limited_by or self._attribution.limited_by
        binds, taken, other, others = self._requests, passage.requests, self._tokens, passage.tokens
        if by is LimitedBy.TOKENS:
            binds, taken, other, others = other, others, binds, taken
        changes = binds.refused(taken, again_in_s=failure.retry_after_s, now=now)
        other.not_refused(others)
        if failure.limited_by is None and changes:
            self._attribution.refused(
                passage.at,
                number=passage.tokens.number,
                requests=passage.requests.net,
                tokens=passage.tokens.net,
            )
            if self._attribution.limited_by is not by:
                other.begin(now)
                binds.open(now)
        elif self._requests.is_starting and self._tokens.found is not None:
            self._requests.open(now)
        if self._requests.is_starting:
            self._requests.start_slower(now, failure.retry_after_s)
        return changes

    def learn(self, hints: LimitHints, passage: Passage, now: float) -> list[Change]:
        """What a reply's headers announce."""
        changes = self._requests.announced(hints.requests_per_minute, hints.requests_remaining, passage.requests, now)
        changes += self._tokens.announced(hints.tokens_per_minute, hints.tokens_remaining, passage.tokens, now)
        if changes:  # a limit is known by now: nothing has to be felt out by concurrency
            self._concurrency.change(self._limits.concurrency, is_known=True)
        limit, remaining = hints.tokens_per_minute, hints.tokens_remaining
        if limit is not None and remaining is not None:
            self._calibration.announced(passage.mark, missing=limit - remaining, per_s=limit / 60)
        return changes + self._requests.settled(now) + self._tokens.settled(now)

    def levels(self, now: float, *, model: str, in_flight: int) -> list[LimitLevel]:
        """Each limit that is known or found, with how much of it is used."""
        levels = [LimitLevel(model=model, kind="concurrency", limit=self._concurrency.limit, used=in_flight)]
        for rate in (self._requests, self._tokens):
            limit = rate.in_force
            if limit is not None:
                levels.append(LimitLevel(model=model, kind=rate.kind, limit=limit, used=rate.used.per_minute(now)))
        return levels
