"""Every combination of some axes, the last axis fastest. Ten million cells cost nothing until they are walked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from tunemill.model import Json, Row
from tunemill.recipe.sections import GridSource
from tunemill.sources.draw import Draw
from tunemill.sources.rows import numbers_but, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid. With a draw, its cells come in the order in which they are drawn: the first N are a fair pilot."""

    axes: Mapping[str, Sequence[Json]]
    draw: Draw | None

    @classmethod
    def of(cls, section: GridSource) -> "Grid":
        """The axes are as `load_recipe` checked them: none empty, no value twice."""
        cells = math.prod(len(values) for values in section.axes.values())
        draw = None if section.sample is None else Draw(size=cells, count=section.sample, seed=section.seed)
        return cls(axes=section.axes, draw=draw)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.axes)

    def count(self) -> int:
        return self.draw.count if self.draw is not None else math.prod(len(values) for values in self.axes.values())

    def rows(self) -> Iterator[Row]:
        if self.draw is not None:
            return (self.cell(index) for index in self.draw)
        names = self.fields
        return (row_of(dict(zip(names, values, strict=True))) for values in product(*self.axes.values()))

    def rows_but(self, walked: int, unsettled: Sequence[int]) -> Iterator[Row]:
        numbers = numbers_but(walked, unsettled, self.count())
        return (self.cell(number if self.draw is None else self.draw[number]) for number in numbers)

    def some(self, count: int, seed: int) -> Iterator[Row]:
        if self.draw is not None or self.count() <= count:
            return islice(self.rows(), count)  # drawn cells are spread already
        return (self.cell(index) for index in Draw(size=self.count(), count=count, seed=seed))

    def check(self) -> None:
        """Nothing is left to check: a grid is wholly in the recipe."""

    def stamp(self) -> str:
        """A grid reads no file."""
        return ""

    def cell(self, index: int) -> Row:
        """The cell at `index` of the whole grid, counted with the last axis fastest."""
        values: list[Json] = []
        for axis in reversed(tuple(self.axes.values())):
            index, at = divmod(index, len(axis))
            values.append(axis[at])
        return row_of(dict(zip(self.axes, reversed(values), strict=True)))
