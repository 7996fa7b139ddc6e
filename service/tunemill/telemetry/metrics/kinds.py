"""What a metric is, as data: its name, what it says, its labels, and how it is read from a run's figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from tunemill.model import Picodollars, usd
from tunemill.statistics import RunStatistics

Labelled: TypeAlias = tuple[tuple[str, ...], float]  # the labels' values, in the table's order, and the sample's

OTHER = "other"


class Kind(Enum):
    """What Prometheus calls the type. The name of a counter ends in _total, that of an info in _info."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


class Since(Enum):
    """What a figure covers."""

    RUN = "run"  # its sum over all processes that worked on the run
    PROCESS = "process"  # since this process began
    NOW = "now"  # this moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One metric. `labels` has each label's values, or in words where they come from."""

    name: str
    kind: Kind
    help: str
    since: Since
    labels: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    read: Callable[[RunStatistics], Iterable[Labelled]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedHistogram:
    """One distribution of what this process saw. `buckets` are upper bounds in the unit that the name ends in."""

    name: str
    help: str
    labels: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    buckets: tuple[float, ...]


def one(read: Callable[[RunStatistics], float | None]) -> Callable[[RunStatistics], Iterator[Labelled]]:
    """A single sample; none where it is not known."""

    def samples(statistics: RunStatistics) -> Iterator[Labelled]:
        value = read(statistics)
        if value is not None:
            yield (), value

    return samples


def dollars(read: Callable[[RunStatistics], Picodollars | None]) -> Callable[[RunStatistics], Iterator[Labelled]]:
    """An amount, in dollars; none where it is not known."""

    def amount(statistics: RunStatistics) -> float | None:
        picodollars = read(statistics)
        return None if picodollars is None else usd(picodollars)

    return one(amount)


def by_step(
    read: Callable[[RunStatistics], Mapping[tuple[str, str], int]], known: Sequence[str]
) -> Callable[[RunStatistics], Iterator[Labelled]]:
    """Counts by step and one of the values `known`; all others of a step are one."""
    values = frozenset(known)

    def samples(statistics: RunStatistics) -> Iterator[Labelled]:
        closed: Counter[tuple[str, str]] = Counter({(step, value): 0 for step in statistics.steps for value in known})
        for (step, value), count in read(statistics).items():
            closed[step, value if value in values else OTHER] += count
        yield from sorted(closed.items())

    return samples
