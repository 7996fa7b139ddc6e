"""Lengths of many texts in little memory: quantiles and a histogram, for the report and for `check`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunemill.model import Json

CHARACTERS_PER_TOKEN = 4
BINS_MAX = 24

_EXACT_BITS = 12
_NICE_STEPS = (1, 2, 5)


def tokens_estimate(characters: int) -> int:
    """About how many tokens a text of so many characters has: a quarter, rounded up.

    A rule of thumb for English and today's tokenizers; other scripts and code need more. No bound is built on it.
    """
    return -(-characters // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """So many lengths at least `start` and below `end`."""

    start: int
    end: int
    count: int

    def to_json(self) -> dict[str, Json]:
        return {"from": self.start, "to": self.end, "count": self.count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long many texts are, in characters. All zero where there was none."""

    count: int
    total: int
    least: int
    p5: int
    median: int
    p95: int
    most: int
    bins: tuple[Bin, ...]

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def to_json(self) -> dict[str, Json]:
        return {
            "unit": "characters",
            "count": self.count,
            "total": self.total,
            "min": self.least,
            "p5": self.p5,
            "median": self.median,
            "mean": round(self.mean, 1),
            "p95": self.p95,
            "max": self.most,
            "histogram": [one.to_json() for one in self.bins],
        }


class LengthTally:
    """Counts lengths as they come. Exact below 4,096; above, to one part in 2,048, so that memory is bounded."""

    __slots__ = ("_counts", "_least", "_most", "_total")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0
        self._least = -1  # none yet
        self._most = 0

    def add(self, length: int, number: int = 1) -> None:
        """Count one text of so many characters, or some."""
        self._total += length * number
        if length > self._most:
            self._most = length
        if length < self._least or self._least < 0:
            self._least = length
        shift = length.bit_length() - _EXACT_BITS
        self._counts[length if shift <= 0 else length >> shift << shift] += number

    def add_all(self, lengths: Sequence[int]) -> None:
        """Count many at once, in a fraction of the time where they repeat."""
        for length, number in Counter(lengths).items():
            self.add(length, number)

    def lengths(self) -> Lengths:
        """The figures so far."""
        ordered = sorted(self._counts.items())
        count = sum(self._counts.values())
        return Lengths(
            count=count,
            total=self._total,
            least=max(0, self._least),
            p5=_quantile(ordered, count, 5),
            median=_quantile(ordered, count, 50),
            p95=_quantile(ordered, count, 95),
            most=self._most,
            bins=tuple(_bins(ordered, self._least, self._most)) if count else (),
        )


def _quantile(ordered: list[tuple[int, int]], count: int, percent: int) -> int:
    """The smallest length such that at least `percent` of all are not longer."""
    seen = 0
    for length, number in ordered:
        seen += number
        if seen * 100 >= count * percent:
            return length
    return 0


def _bins(ordered: list[tuple[int, int]], least: int, most: int) -> Iterator[Bin]:
    step = _step(most - least + 1)
    counts: Counter[int] = Counter()
    for length, number in ordered:
        counts[length // step] += number
    for index in range(min(counts), max(counts) + 1):
        yield Bin(start=index * step, end=(index + 1) * step, count=counts[index])


def _step(span: int) -> int:
    """The least step of 1, 2, 5, 10, 20, ... that needs at most BINS_MAX bins, one more where they do not align."""
    scale = 1
    while True:
        for nice in _NICE_STEPS:
            if span <= nice * scale * BINS_MAX:
                return nice * scale
        scale *= 10
