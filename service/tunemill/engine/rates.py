"""One limit a minute (of requests, or of tokens) of one model: what is known of it, what was found, and what is used.

What is known is the recipe's own limit and what headers announce; the lower counts. Where refusals say that it is not
so, or where nothing is known, `RateSearch` finds what is really allowed, below what is known.
"""

from collections import deque
from dataclasses import dataclass

from tunemill.engine.calibration import Trust
from tunemill.engine.pacing import Allowance, RateMeter
from tunemill.engine.search import RateSearch
from tunemill.frozen import quickly_made

RAISE_PER_S = 1.15  # a higher announcement is followed gradually: gateways send now this provider's, now that one's
RANDOM_WAITS = 1.2  # times what one request takes to be refilled
RANDOM_WAIT_S = 0.02
RANDOM_HOLDS_S = 0.3
OFTEN, OFTEN_OF = 5, 12  # so many refusals among so many requests are no chance
START_MAKES_UP_S = 0.05
JITTER_S = 0.25  # a bucket that held so much less than was thought was hit by chance, and not by another limit
SYNC_SHARE = 0.3  # of how far an announced level is off
SYNC_PER_S_MOST = 0.1  # of the limit: what others use is found out by refusals, or whoever takes most would get all


@dataclass(frozen=True, slots=True)
class Change:
    """A limit that is now another: requests_per_minute, tokens_per_minute or concurrency, and what caused it:
    announced, configured, refused (found by being refused) or regained (what was found no longer binds)."""

    kind: str
    limit: float
    cause: str


@quickly_made
@dataclass(frozen=True, slots=True)
class Taken:
    """One request's part of a limit: its number, when, how much, how much room the bucket had before, the total of all
    that left with it, and of that what was not refused by then."""

    number: int
    at: float
    amount: float
    room: float
    total: float
    net: float


class RateLimit:
    """See the module. Times are seconds of one monotonic clock; limits are per minute, None where nothing is known."""

    __slots__ = (
        "_allowance",
        "_announced",
        "_announced_at",
        "_configured",
        "_count",
        "_is_below_known",
        "_raised_at",
        "_refusals",
        "_search",
        "_synced",
        "_trust",
        "kind",
        "used",
    )

    def __init__(self, kind: str, configured: float | None, now: float, *, starting: bool) -> None:
        self.kind = kind
        self.used = RateMeter()
        self._trust = Trust()
        self._count = 0  # of all that left
        self._refusals: deque[int] = deque(maxlen=OFTEN)  # the numbers of those that were refused last
        self._configured = configured
        self._announced: float | None = None
        self._announced_at = float("-inf")  # when the request left whose reply announced it
        self._raised_at = now
        self._synced = (now, now)  # when the level was last brought into line, and by a request that left when
        self._is_below_known = False  # and it was told
        self._search = RateSearch(now, starting=starting)
        self._allowance = Allowance(configured, now)
        self._follow(now)

    @property
    def known(self) -> float | None:
        """What the recipe allows and the provider announces; the lower of the two."""
        configured, announced = self._configured, self._announced
        if configured is None or announced is None:
            return announced if configured is None else configured
        return min(configured, announced)

    @property
    def found(self) -> float | None:
        """What refusals have taught where that is less than what is known, or nothing is known."""
        return self._allowance.per_minute if self._search.is_found else None

    @property
    def in_force(self) -> float | None:
        """What is used at present."""
        return self._allowance.per_minute

    @property
    def is_starting(self) -> bool:
        """Whether it is raised again and again until something is refused."""
        return self._search.is_starting

    def start_slower(self, now: float, again_in_s: float | None) -> None:
        """Something was refused before anything could be measured; it is to come again later."""
        self._search.start_slower(now + (again_in_s or 0.0))
        self._follow(now)

    def begin(self, now: float) -> None:
        """It is this limit that binds after all."""
        self._search.begin(now)
        self._follow(now)

    def open(self, now: float) -> None:
        """It is not this limit that binds."""
        self._search.open()
        self._follow(now)

    def configure(self, limit: float | None, now: float) -> list[Change]:
        """The recipe's own limit is another. One that is not known any more is learned again."""
        if limit == self._configured:
            return []
        self._configured, self._announced, self._is_below_known = limit, None, False
        self._search.open()
        self._follow(now)
        return [Change(self.kind, limit or 0.0, "configured")]

    def delay(self, now: float, amount: float) -> float:
        """Seconds until a request of so much may leave."""
        if self._search.is_at_work:
            self._follow(now)
        if self._search.is_starting:
            self._allowance.make_up(now, START_MAKES_UP_S)
        return self._allowance.delay(now, amount)

    def take(self, now: float, amount: float) -> Taken:
        """A request of so much is let through."""
        self.used.add(now, amount)
        total = self._search.took(now, amount)
        self._count += 1
        return Taken(self._count, now, amount, self._allowance.take(now, amount), total, self._search.admitted)

    def left(self, taken: Taken, now: float) -> None:
        """It really left now."""
        self._allowance.left(now, taken.amount, taken_at=taken.at)

    def refused(self, taken: Taken, *, again_in_s: float | None, now: float) -> list[Change]:
        """It was refused because of this limit: the provider's bucket does not hold so much."""
        limit = self._allowance.per_minute
        if self._is_random(taken, again_in_s):
            self._search.took_back(taken.amount, since=taken.at)
            return []
        if limit is not None and not self._search.is_at_work and again_in_s is not None:
            held_s = self._held_s(taken, again_in_s, limit / 60)
            if (self._allowance.capacity - taken.room) / (limit / 60) - held_s < JITTER_S:
                self._search.took_back(taken.amount, since=taken.at)
                self._allowance.empty(now, held_s * limit / 60)
                return []
        is_new = self._search.refused(
            sent_at=taken.at,
            total=taken.total,
            amount=taken.amount,
            in_force=None if limit is None or self._search.is_at_work else limit / 60,
            now=now,
        )
        if not is_new:
            return []
        self._follow(now)
        found = self._allowance.per_minute
        if found is None:  # nothing was admitted yet by which it could be measured
            return []
        held_s = 0.0 if again_in_s is None else self._held_s(taken, again_in_s, found / 60)
        self._allowance.put(now, held_s * found / 60)
        if found == limit:
            return []
        self._is_below_known = True
        return [Change(self.kind, found, "refused")]

    def _is_random(self, taken: Taken, again_in_s: float | None) -> bool:
        """Whether it says nothing of this limit: it names no wait that would fit it, the bucket should hold enough, and
        of what left lately hardly anything else was refused."""
        self._refusals.append(taken.number)
        limit = self._allowance.per_minute
        if limit is None:
            return False
        per_s = limit / 60
        if again_in_s is not None and again_in_s <= RANDOM_WAITS * taken.amount / per_s + RANDOM_WAIT_S:
            return False
        if self._search.is_found:
            holds_s = self._search.expected_s(taken.at)
        else:
            holds_s = (self._allowance.capacity - taken.room) / per_s
        is_often = len(self._refusals) == OFTEN and max(self._refusals) - min(self._refusals) < OFTEN_OF
        return not is_often and (self._search.is_starting or holds_s > RANDOM_HOLDS_S)

    def _held_s(self, taken: Taken, again_in_s: float, per_s: float) -> float:
        """How many seconds' worth the provider's bucket held when it refused this, and said when it would not."""
        return min(taken.amount, self._allowance.capacity) / per_s - again_in_s

    def not_refused(self, taken: Taken) -> None:
        """It was refused, but because of the other limit: nothing of this one was taken."""
        self._search.took_back(taken.amount, since=taken.at)
        self._allowance.give(taken.at, taken.amount)

    def announced(self, limit: int | None, remaining: int | None, taken: Taken, now: float) -> list[Change]:
        """What the reply to a request said. A lower limit counts at once, a higher one gradually."""
        if limit is None:
            return []
        changes = self._adopt(float(limit), taken.at, now)
        if remaining is not None:
            self._sync(float(limit), remaining, taken, now)
        return changes

    def settled(self, now: float) -> list[Change]:
        """What was found may no longer bind."""
        if not self._is_below_known:
            return []
        self._follow(now)
        if self._search.is_found:
            return []
        self._is_below_known = False
        return [Change(self.kind, self.known or 0.0, "regained")]

    def _follow(self, now: float) -> None:
        """Put into force what is known and what was found."""
        known, found = self.known, self._search.per_minute(now)
        if known is not None and found is not None and found >= known:
            self._search.open()
            found = None
        limit = known if found is None else found
        if limit != self._allowance.per_minute:
            self._allowance.change(limit, now, filled=0.5 if self._search.is_starting else 1.0)

    def _adopt(self, limit: float, sent_at: float, now: float) -> list[Change]:
        if sent_at < self._announced_at:  # an answer that took long tells of long ago
            return []
        if limit == self._announced:  # as nearly always
            self._announced_at = sent_at
            return []
        before = self.known
        if self._announced is not None and limit > self._announced:
            limit = min(limit, self._announced * RAISE_PER_S ** min(1.0, now - self._raised_at))
            self._raised_at = now
        if self._search.is_starting:
            self._search.open()
        self._announced, self._announced_at = limit, sent_at
        known = self.known
        assert known is not None
        if known == before:
            return []
        self._follow(now)
        return [Change(self.kind, known, "announced")]

    def _sync(self, limit: float, remaining: int, taken: Taken, now: float) -> None:
        """Bring the level into line with what the provider says remained after this request."""
        at, by = self._synced
        debt, thought = limit - remaining, taken.room + taken.amount
        if self._search.is_at_work or taken.at <= by or limit != self.known:
            return
        is_plausible = 0 < debt <= limit / 60 + taken.amount
        self._trust.heard(is_plausible)
        if not is_plausible or not self._trust.holds:  # not a bucket that refills evenly: it says something else
            return
        most = SYNC_PER_S_MOST * limit / 60 * (now - at)
        self._allowance.give(now, max(-most, min(most, (thought - debt) * SYNC_SHARE)))
        self._synced = (now, now)
