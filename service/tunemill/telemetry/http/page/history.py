"""What is remembered of a run's course, in little room: fine where it is recent, coarser the longer ago it is.

Samples come at equal distances. The latest are kept as they are; whenever so many are there that a level is full, its
two oldest become one of the next level, which so holds samples of twice the time. All of a week, second by second, is
about a thousand samples.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TypeAlias

from tunemill.model import Json

ROOM = 64  # samples a level

Rate: TypeAlias = float | None


@dataclass(frozen=True, slots=True)
class LaneRates:
    """Requests and tokens a minute of one model, and their limits; None where unknown."""

    requests: Rate
    requests_limit: Rate
    tokens: Rate
    tokens_limit: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A moment, or of an older one the stretch that ended then: dollars and counts as they were at its end, rates the
    mean over it. `at` is in Unix seconds; `spent` is settled and uncertain; rates are in the order of the models."""

    at: float
    spent: float
    forecast: float | None
    budget: float | None
    done: int
    rates: tuple[LaneRates, ...] = ()

    def to_json(self) -> Json:
        """As the page reads it: [at, spent, forecast, budget, done, [requests, limit, tokens, limit], ...]."""
        lanes: list[Json] = [
            [_brief(rate) for rate in (lane.requests, lane.requests_limit, lane.tokens, lane.tokens_limit)]
            for lane in self.rates
        ]
        return [round(self.at, 1), self.spent, self.forecast, self.budget, self.done, *lanes]


@dataclass(slots=True)
class History:
    """The samples of a run so far, in room that grows with the logarithm of their number."""

    room: int = ROOM
    _levels: list[deque[Sample]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Remember one more."""
        for level in self._levels:
            level.append(sample)
            if len(level) <= self.room:
                return
            sample = _merged(level.popleft(), level.popleft())
        self._levels.append(deque([sample]))

    def __iter__(self) -> Iterator[Sample]:
        """The oldest first."""
        return chain.from_iterable(reversed(self._levels))

    def __len__(self) -> int:
        return sum(map(len, self._levels))


def _merged(first: Sample, second: Sample) -> Sample:
    """Both of one level, so that they weigh the same."""
    lanes: Sequence[tuple[LaneRates | None, LaneRates | None]] = list(zip_longest(first.rates, second.rates))
    return Sample(
        at=second.at,
        spent=second.spent,
        forecast=second.forecast,
        budget=second.budget,
        done=second.done,
        rates=tuple(_both(*lane) for lane in lanes),
    )


def _both(first: LaneRates | None, second: LaneRates | None) -> LaneRates:
    if first is None or second is None:
        only = first or second
        assert only is not None, "one of the two is the longer"
        return only
    return LaneRates(
        requests=_mean(first.requests, second.requests),
        requests_limit=second.requests_limit,
        tokens=_mean(first.tokens, second.tokens),
        tokens_limit=second.tokens_limit,
    )


def _mean(first: Rate, second: Rate) -> Rate:
    if first is None or second is None:
        return second if first is None else first
    return (first + second) / 2


def _brief(rate: Rate) -> Rate:
    return None if rate is None else round(rate, 1)
