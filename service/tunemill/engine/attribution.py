"""Which of two limits it is that refuses, where the provider does not say.

Between two episodes of refusals exactly as much is admitted as the binding limit allows. So it is the one of which the
more even amount passed a second, from episode to episode.
"""

import statistics
from collections import deque

from tunemill.model import LimitedBy

EPISODES = 6
EPISODES_LEAST = 3
SHORTEST_S = 0.5
MORE_EVEN = 0.7  # so much more even the other one has to be, for a change of mind


class Attribution:
    """Told of each episode; says which limit it is. Requests, until tokens prove to be passed more evenly."""

    __slots__ = ("_last", "_rates", "limited_by")

    def __init__(self) -> None:
        self.limited_by = LimitedBy.REQUESTS
        self._last: tuple[float, float, float] | None = None
        self._rates: deque[tuple[float, float]] = deque(maxlen=EPISODES)

    def refused(self, at: float, *, requests: float, tokens: float) -> None:
        """An episode began: so many requests and tokens had been admitted, all in all, up to then."""
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


def _spread(rates: list[float]) -> float:
    mean = statistics.fmean(rates)
    return statistics.pstdev(rates) / mean if mean > 0 else float("inf")
