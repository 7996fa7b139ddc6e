"""Which of two limits it is that refuses, where the provider does not say.

Between two episodes of refusals exactly as much is admitted as the binding limit allows. So it is the one of which the
more even amount passed a second, from episode to episode. That holds as long as nearly all that is allowed is used.

At a few requests a second, of very different sizes, a limit of tokens refuses long before that: large ones, and whoever
comes after a large one. A limit of requests refuses anybody. (Evenness says nothing there: it is our own pace.)
"""

import statistics
from collections import deque

from tunemill.model import LimitedBy

EPISODES = 6
EPISODES_LEAST = 3
SHORTEST_S = 0.5
MORE_EVEN = 0.7  # so much more even the other one has to be, for a change of mind
PAIRS = 256  # of requests, each with the one before it, that left last
RANKS = 8  # of refused ones among those, by size; the mean of so many is above RANK_LARGE by chance once in 3,000
RANK_LARGE = 0.85


class Attribution:
    """Told of each request and each episode; says which limit it is. Requests, until there is proof of tokens."""

    __slots__ = ("_before", "_last", "_left", "_pairs", "_ranks", "_rates", "limited_by")

    def __init__(self) -> None:
        self.limited_by = LimitedBy.REQUESTS
        self._last: tuple[float, float, float] | None = None
        self._rates: deque[tuple[float, float]] = deque(maxlen=EPISODES)
        self._before = 0.0
        self._left = 0
        self._pairs: deque[float] = deque(maxlen=PAIRS)
        self._ranks: deque[float] = deque(maxlen=RANKS)

    def left(self, tokens: float) -> None:
        """A request of so many left."""
        self._pairs.append(self._before + tokens)
        self._before = tokens
        self._left += 1

    def refused(self, at: float, *, number: int, requests: float, tokens: float) -> None:
        """An episode began with the request that left as this number, from 1: so many requests and tokens had been
        admitted, all in all, up to then."""
        self._rank(number)
        if self._last is not None and at - self._last[0] >= SHORTEST_S:
            passed_s = at - self._last[0]
            self._rates.append(((requests - self._last[1]) / passed_s, (tokens - self._last[2]) / passed_s))
        self._last = (at, requests, tokens)
        if len(self._rates) < EPISODES_LEAST:
            return
        by_requests, by_tokens = (_spread([pair[kind] for pair in self._rates]) for kind in (0, 1))
        if self.limited_by is LimitedBy.REQUESTS and by_tokens < by_requests * MORE_EVEN:
            self.limited_by = LimitedBy.TOKENS
        elif self.limited_by is LimitedBy.TOKENS and by_requests < by_tokens * MORE_EVEN:
            self.limited_by = LimitedBy.REQUESTS
        elif self.limited_by is LimitedBy.REQUESTS and self._are_large():
            self.limited_by = LimitedBy.TOKENS
            self._ranks.clear()

    def _rank(self, number: int) -> None:
        """Note where it stands among the last: 0 for the smallest, 1 for the largest, one half where all are alike."""
        place = number - 1 - (self._left - len(self._pairs))
        if place >= 0:
            size = self._pairs[place]
            smaller, alike = sum(each < size for each in self._pairs), sum(each == size for each in self._pairs)
            self._ranks.append((smaller + alike / 2) / len(self._pairs))

    def _are_large(self) -> bool:
        return len(self._ranks) == RANKS and statistics.fmean(self._ranks) >= RANK_LARGE


def _spread(rates: list[float]) -> float:
    mean = statistics.fmean(rates)
    return statistics.pstdev(rates) / mean if mean > 0 else float("inf")
