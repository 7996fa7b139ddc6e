"""How samples multiply along the steps.

A step with `samples = 3` asks three times for every text of the step above it. So step `j` has, for each row, as many
samples as the product of `samples` up to it, numbered so that sample `s` reads sample `s // samples` of the step above:

    outline   samples = 2    0        1
    expanded  samples = 3    0 1 2    3 4 5
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Protocol


class HasSamples(Protocol):
    """A step, as far as this matters."""

    @property
    def samples(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The steps' sample counts. Steps are counted from 0.

    `samples` is each step's own; `counts` is how many samples, and so requests, each step has for one row.
    """

    samples: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, steps: Sequence[HasSamples]) -> "Chain":
        samples = tuple(step.samples for step in steps)
        return cls(samples=samples, counts=tuple(accumulate(samples, mul)))

    @property
    def requests_per_row(self) -> int:
        return sum(self.counts)

    @property
    def candidates_per_row(self) -> int:
        """How many candidates for the dataset a row has: the last step's samples, and one where there is no step."""
        return self.counts[-1] if self.counts else 1

    def parent_sample(self, step: int, sample: int) -> int:
        """Which sample of the step above this one reads. The first step has nothing above it."""
        assert step > 0, "the first step reads no other"
        return sample // self.samples[step]

    def child_samples(self, step: int, sample: int) -> range:
        """Which samples of the step below read this one; none for the last step."""
        if step + 1 == len(self.samples):
            return range(0)
        many = self.samples[step + 1]
        return range(sample * many, (sample + 1) * many)

    def lineage(self, step: int, sample: int) -> tuple[int, ...]:
        """The sample of every step from the first down to this one that belongs together."""
        line = [sample]
        for at in range(step, 0, -1):
            line.append(self.parent_sample(at, line[-1]))
        return tuple(reversed(line))
