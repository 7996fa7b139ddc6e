"""Requests and tokens per minute, enforced second by second as the hosted API does. Pure: the time is passed in.

A bucket holds one second's worth and refills evenly, so a minute's allowance cannot be spent in its first second. What
is announced in the headers is the view over a whole minute, as the hosted API announces it; the bucket that enforces
is always the tighter one. A request that is larger than one second's worth is let through when the bucket is full and
leaves a debt, so the long-run rate holds for requests of every size.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

LimitKind: TypeAlias = Literal["requests", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Per minute and model; `math.inf` where there is none."""

    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Not admitted: which limit, how long until it would be, and whether it never will be."""

    kind: LimitKind
    limit: float
    requested: int
    wait_s: float
    never: bool = False


class Bucket:
    """A level that refills by `rate_per_s` up to `capacity`, computed when it is looked at."""

    __slots__ = ("capacity", "checked_at", "level", "rate_per_s")

    def __init__(self, *, rate_per_s: float, capacity: float, now: float) -> None:
        self.rate_per_s = rate_per_s
        self.capacity = capacity
        self.level = capacity
        self.checked_at = now

    def refill(self, now: float) -> None:
        """Bring the level up to `now`, in seconds of a clock that never goes back."""
        self.level = min(self.capacity, self.level + (now - self.checked_at) * self.rate_per_s)
        self.checked_at = now

    def wait_s(self, amount: float) -> float:
        """Seconds from the last refill until `amount`, or a full bucket if that is less, is there."""
        missing = min(amount, self.capacity) - self.level
        # Refilling adds rounding errors of about 1e-12; a client that paces exactly must not be refused over them.
        return max(0.0, missing / self.rate_per_s) if missing > 1e-9 * self.capacity else 0.0


class Gauge:
    """One limit: the bucket that enforces and the one that is announced."""

    __slots__ = ("enforced", "kind", "limit", "minute")

    def __init__(self, kind: LimitKind, limit: float, now: float) -> None:
        self.kind = kind
        self.limit = limit
        per_s = limit / 60
        self.enforced = Bucket(rate_per_s=per_s, capacity=max(1.0, per_s), now=now)
        self.minute = Bucket(rate_per_s=per_s, capacity=limit, now=now)

    def check(self, amount: int, now: float) -> Denied | None:
        """Why `amount` is not admitted at `now`; None where it is. Takes nothing yet."""
        if math.isinf(self.limit):
            return None
        self.enforced.refill(now)
        self.minute.refill(now)
        if amount > max(self.limit, 1.0):
            return Denied(kind=self.kind, limit=self.limit, requested=amount, wait_s=math.inf, never=True)
        wait_s = self.enforced.wait_s(amount)
        return Denied(kind=self.kind, limit=self.limit, requested=amount, wait_s=wait_s) if wait_s > 0 else None

    def share(self, share: float, passed_s: float, now: float) -> None:
        """Somebody else took this share of what was refilled, as far as it was there."""
        if not math.isinf(self.limit):
            for bucket in (self.enforced, self.minute):
                bucket.refill(now)
                bucket.level -= max(0.0, min(bucket.level, share * bucket.rate_per_s * passed_s))

    def take(self, amount: int) -> None:
        """Take `amount`, which `check` has just admitted."""
        self.enforced.level -= amount
        self.minute.level -= amount

    def give_back(self, amount: int, now: float) -> None:
        """Give back what was taken too much."""
        if amount > 0 and not math.isinf(self.limit):
            for bucket in (self.enforced, self.minute):
                bucket.refill(now)
                bucket.level = min(bucket.capacity, bucket.level + amount)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the hosted API announces about this limit; nothing where there is none."""
        if math.isinf(self.limit):
            return ()
        kind = self.kind.encode()
        full_in_s = (self.minute.capacity - self.minute.level) / self.minute.rate_per_s
        return (
            (b"x-ratelimit-limit-" + kind, b"%d" % self.limit),
            (b"x-ratelimit-remaining-" + kind, b"%d" % max(0, math.floor(self.minute.level))),
            (b"x-ratelimit-reset-" + kind, duration(full_in_s).encode()),
        )


class Limiter:
    """Both limits of one model. `others_share` of each is taken by somebody else with the same key, evenly."""

    __slots__ = ("_others_at", "others_share", "requests", "tokens")

    def __init__(self, limits: Limits, now: float) -> None:
        self.requests = Gauge("requests", limits.requests_per_minute, now)
        self.tokens = Gauge("tokens", limits.tokens_per_minute, now)
        self.others_share = 0.0
        self._others_at = now

    def admit(self, tokens: int, now: float) -> Denied | None:
        """Take one request and `tokens` tokens, both or neither; says why where neither."""
        passed_s, self._others_at = now - self._others_at, now
        if self.others_share > 0:
            for gauge in (self.requests, self.tokens):
                gauge.share(self.others_share, passed_s, now)
        denied = self.requests.check(1, now) or self.tokens.check(tokens, now)
        if denied is None:
            self.requests.take(1)
            self.tokens.take(tokens)
        return denied

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The announcement that goes with every reply, also a refusal."""
        return self.requests.headers() + self.tokens.headers()


def duration(seconds: float) -> str:
    """As the hosted API writes durations: 12ms, 1s, 8.64s, 6m0s, 1h0m0s."""
    milliseconds = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds_text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + seconds_text
