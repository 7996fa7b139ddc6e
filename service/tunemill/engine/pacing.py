"""How fast requests may leave, for one model, as plain objects that take a time and return a wait.

    Allowance         so much a minute (requests, or tokens), spent evenly, first come first served
    ConcurrencyLimit  how many at once, felt out while nothing is known

None of them waits, polls or knows a clock. Times are seconds of one monotonic clock, rates are per minute.
"""

from dataclasses import dataclass

# A provider that enforces a minute's limit second by second holds a second's worth, and whatever its bucket cannot hold
# is lost for ever. So the bucket is kept half full: half a second of ours may come too late and be made up for, and
# half a second of requests may arrive bunched up without one being refused.
START_SHARE = 0.75  # of a second's worth is taken to be there at first: somebody may have used the key just before
USED_SHARE = 0.995  # of the limit; the rest gives back what the provider lost while it was slow itself
MARGIN_S = 0.004  # whoever needs a whole bucket arrives so much later than when it is full
LATE_S_MOST = 1.0
LATE_GAIN = 0.05
LOOK_AGAIN_S = 0.01
CONCURRENCY_START = 1024


class Allowance:
    """A copy of the provider's bucket: it holds one second's worth (and at least 1) and refills evenly.

    Whatever is small beside it leaves when the bucket is half full. What needs more than a second's worth waits until
    it is full and then drives it below zero, so that the average still holds and a big request is never starved.

    Between being let through and leaving, a request is written down, which takes a while, and sometimes long. So the
    bucket is that of what has left; what is still to leave is what it will hold less of, and is expected to leave as
    late as others did.
    """

    __slots__ = ("_at", "_late_s", "_level", "_pending", "_rate_per_s", "capacity", "per_minute")

    def __init__(self, per_minute: float | None, now: float) -> None:
        self.per_minute = per_minute
        self.capacity = 1.0  # what the provider's bucket holds
        self._rate_per_s = 0.0
        self._level = 0.0
        self._at = now
        self._pending = 0.0
        self._late_s = 0.0
        if per_minute is not None:
            self._refill_at(per_minute)
            self._level = self.capacity * START_SHARE

    def _refill_at(self, per_minute: float) -> None:
        self.capacity = max(1.0, per_minute / 60)
        self._rate_per_s = per_minute * USED_SHARE / 60

    def change(self, per_minute: float | None, now: float, *, filled: float = 1.0) -> None:
        """A new limit from now on; None is none. A smaller bucket holds no more than fits; of what a larger one holds
        more, `filled` is there: with half of it, growth alone lets nobody leave earlier."""
        self._refill(now)
        before, capacity = self.per_minute, self.capacity
        self.per_minute = per_minute
        if per_minute is None:
            self.capacity = 1.0
            return
        self._refill_at(per_minute)
        if before is None:
            self._level = self.capacity * START_SHARE
        else:
            self._level = min(self._level + max(0.0, self.capacity - capacity) * filled, self.capacity)

    def delay(self, now: float, amount: float) -> float:
        """Seconds until a request of so much may leave; a guess where others have to leave first."""
        if self.per_minute is None:
            return 0.0
        missing = self._needed(amount) - self.level(now)
        # Refilling adds rounding errors of about 1e-12, and no clock is that exact.
        if missing <= 1e-9 * self.capacity:
            return 0.0
        seconds = missing / self._rate_per_s
        return seconds if self._level < self.capacity else max(seconds, LOOK_AGAIN_S)

    def take(self, now: float, amount: float) -> float:
        """A request of so much is let through now; gives how much room the bucket is thought to have before it."""
        self._pending += amount
        return 0.0 if self.per_minute is None else self.capacity - self.level(now) - amount

    def left(self, now: float, amount: float, *, taken_at: float) -> None:
        """What was let through then leaves now."""
        self._pending = max(0.0, self._pending - amount)
        self._late_s += (min(now - taken_at, LATE_S_MOST) - self._late_s) * LATE_GAIN
        if self.per_minute is not None:
            self._refill(now)
            # What finds the bucket full has no room for arriving a little early.
            self._level -= amount + max(0.0, MARGIN_S * self._rate_per_s - max(0.0, self.capacity - amount) / 2)

    def empty(self, now: float, left: float = 0.0) -> None:
        """The provider says that at most so much is left."""
        self.give(now, min(0.0, left - self.level(now)))

    def put(self, now: float, level: float) -> None:
        """The provider says that so much is left, whatever was thought."""
        self.give(now, level - self.level(now))

    def make_up(self, now: float, seconds: float) -> None:
        """Of lateness no more than so many seconds are made up for."""
        self.empty(now, (self.capacity + 1) / 2 + self._rate_per_s * seconds)

    def give(self, now: float, amount: float) -> None:
        """The provider has so much more (below zero: less) than was thought."""
        if self.per_minute is not None:
            self._refill(now)
            self._level = min(self.capacity, self._level + amount)

    def level(self, now: float) -> float:
        """What the provider's bucket is expected to hold when a request that is let through now arrives; below zero
        while a big request is paid off."""
        self._refill(now)
        soon = self._late_s * self._rate_per_s if self._pending else 0.0
        return min(self.capacity, self._level - self._pending + soon)

    def _needed(self, amount: float) -> float:
        capacity = self.capacity
        return (capacity + min(amount, capacity)) / 2

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._level = min(self.capacity, self._level + (now - self._at) * self._rate_per_s)
            self._at = now


class ConcurrencyLimit:
    """How many requests may be under way. Grows by one for each answer, but only while it is what binds."""

    __slots__ = ("_limit", "most")

    def __init__(self, most: int, *, start: int = CONCURRENCY_START) -> None:
        assert most >= 1, most
        self.most = most
        self._limit = float(min(most, start))

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
