"""How fast requests may leave, for one model: three limits as plain objects that take a time and return a wait.

    RequestPacer      requests per minute, spread evenly
    TokenBucket       tokens per minute, first come first served
    ConcurrencyLimit  how many at once, learned

None of them waits, polls or knows a clock. Times are seconds of one monotonic clock, rates are per minute.
"""

from dataclasses import dataclass

CATCH_UP_S = 0.25  # after a pause, so much of it may be made up for at once
RATE_CUT = 0.8
RATE_REGAIN_PER_S = 0.05
RATE_SHARE_MIN = 0.05
CONCURRENCY_START = 32
CONCURRENCY_CUT = 0.7


class RequestPacer:
    """Leaves every 60 / rate seconds, by a virtual schedule, so that lateness of one request delays no later one.

    Each episode of refusals (429) cuts the rate to a share of the limit, once; the share grows back by itself.
    """

    __slots__ = ("_cut_at", "_next_at", "_share", "per_minute")

    def __init__(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        self._next_at = float("-inf")
        self._cut_at = float("-inf")
        self._share = 1.0

    def change(self, per_minute: float | None, now: float) -> None:
        """A new limit from now on: the next request waits no longer than it would under that."""
        self.per_minute = per_minute
        if per_minute is not None:
            self._next_at = min(self._next_at, now + 60.0 / (per_minute * self.share(now)))

    def delay(self, now: float) -> float:
        """Seconds until the next request may leave."""
        return 0.0 if self.per_minute is None else max(0.0, self._next_at - now)

    def take(self, now: float) -> None:
        """A request leaves now."""
        if self.per_minute is not None:
            interval = 60.0 / (self.per_minute * self.share(now))
            self._next_at = max(self._next_at, now - CATCH_UP_S) + interval

    def share(self, now: float) -> float:
        """The part of the limit that is used at present, in (0, 1]."""
        if self._share >= 1.0:
            return 1.0
        return min(1.0, self._share + max(0.0, now - self._cut_at) * RATE_REGAIN_PER_S)

    def refused(self, *, sent_at: float, now: float) -> bool:
        """A request that left at `sent_at` was refused. True where this began a new episode and cut the rate."""
        if sent_at <= self._cut_at:
            return False
        self._share = max(RATE_SHARE_MIN, self.share(now) * RATE_CUT)
        self._cut_at = now
        return True


class TokenBucket:
    """Holds one second's worth. What needs more than that waits until it is full and then drives it below zero, so that
    the average still holds and a big request is never starved: whoever asks first, leaves first."""

    __slots__ = ("_at", "_level", "_per_minute")

    def __init__(self, per_minute: float | None) -> None:
        self._per_minute = per_minute
        self._level = 0.0 if per_minute is None else per_minute / 60
        self._at = float("-inf")

    @property
    def per_minute(self) -> float | None:
        """The limit; None where there is none."""
        return self._per_minute

    def change(self, per_minute: float | None, now: float) -> None:
        """A new limit from now on; None is none."""
        self._refill(now)
        if per_minute is None:
            self._per_minute = None
            return
        self._level = per_minute / 60 if self._per_minute is None else min(self._level, per_minute / 60)
        self._per_minute = per_minute
        self._at = now

    def delay(self, now: float, amount: float) -> float:
        """Seconds until a request of so many tokens may leave."""
        if self._per_minute is None:
            return 0.0
        self._refill(now)
        rate = self._per_minute / 60
        return max(0.0, (min(amount, rate) - self._level) / rate)

    def take(self, now: float, amount: float) -> None:
        """A request of so many tokens leaves now."""
        if self._per_minute is not None:
            self._refill(now)
            self._level -= amount

    def level(self, now: float) -> float:
        """Tokens that are free now; below zero while a big request is being paid off."""
        self._refill(now)
        return self._level

    def _refill(self, now: float) -> None:
        if self._per_minute is not None and now > self._at:
            rate = self._per_minute / 60
            if self._at != float("-inf"):
                self._level = min(rate, self._level + (now - self._at) * rate)
            self._at = now


class ConcurrencyLimit:
    """How many requests may be under way. Grows by one for each answer, but only while it is what binds; is cut once an
    episode of refusals."""

    __slots__ = ("_cut_at", "_limit", "most")

    def __init__(self, most: int, *, start: int = CONCURRENCY_START) -> None:
        assert most >= 1, most
        self.most = most
        self._limit = float(min(most, start))
        self._cut_at = float("-inf")

    @property
    def limit(self) -> int:
        """At least 1."""
        return max(1, int(self._limit))

    def change(self, most: int, *, is_known: bool) -> None:
        """Another upper limit from now on. Where what the provider allows is known, all of it may be used at once."""
        assert most >= 1, most
        self.most = most
        self._limit = float(most) if is_known else min(self._limit, float(most))

    def answered(self, *, in_flight: int) -> None:
        """An answer came while so many were under way (itself included)."""
        if in_flight >= self.limit:
            self._limit = min(float(self.most), self._limit + 1.0)

    def refused(self, *, sent_at: float, now: float) -> bool:
        """A request that left at `sent_at` was refused. True where this began a new episode and cut the limit."""
        if sent_at <= self._cut_at:
            return False
        self._limit = max(1.0, self._limit * CONCURRENCY_CUT)
        self._cut_at = now
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """What the recipe says of one model; None is unknown."""

    requests_per_minute: float | None
    tokens_per_minute: float | None
    concurrency: int
    timeout_s: float


class RateMeter:
    """How much passed within the last minute, in bins of a second."""

    __slots__ = ("_bins", "_from")

    WINDOW_S = 60

    def __init__(self) -> None:
        self._bins: dict[int, float] = {}
        self._from: float | None = None

    def add(self, now: float, amount: float = 1.0) -> None:
        """So much passed now."""
        if self._from is None:
            self._from = now
        second = int(now)
        if second in self._bins:
            self._bins[second] += amount
            return
        self._bins[second] = amount  # only a new second can make an old one too old
        for old in [key for key in self._bins if key <= second - self.WINDOW_S]:
            del self._bins[old]

    def per_minute(self, now: float) -> float:
        """The rate over the last minute, or over the time since the first passing where that is shorter."""
        if self._from is None:
            return 0.0
        begin = int(now) - self.WINDOW_S + 1
        span = max(1.0, now - max(self._from, begin))
        return sum(amount for second, amount in self._bins.items() if second >= begin) / span * 60
