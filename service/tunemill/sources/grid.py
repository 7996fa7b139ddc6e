"""Every combination of some axes, the last axis fastest. Ten million cells cost nothing until they are walked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import orjson

from tunemill.errors import RecipeError
from tunemill.model import Json, Row
from tunemill.recipe.sections import GridSource
from tunemill.sources.draw import Draw
from tunemill.sources.rows import row_of
from tunemill.templates import BUILT_IN_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid. With a draw, its cells come in the order in which they are drawn, so that the first N are a fair pilot."""

    axes: Mapping[str, Sequence[Json]]
    draw: Draw | None

    @classmethod
    def of(cls, section: GridSource) -> "Grid":
        """Raises RecipeError for axes that make no grid."""
        for name, values in section.axes.items():
            _check_axis(name, values)
        if not section.axes:
            raise RecipeError("a grid needs at least one axis", mend='write one, such as genre = ["horror"]', key="source.axes")
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

    def check(self) -> None:
        """Nothing is left to check: a grid is wholly in the recipe."""

    def cell(self, index: int) -> Row:
        """The cell at `index` of the whole grid, counted with the last axis fastest."""
        values: list[Json] = []
        for axis in reversed(self.axes.values()):
            index, at = divmod(index, len(axis))
            values.append(axis[at])
        return row_of(dict(zip(self.axes, reversed(values), strict=True)))


def _check_axis(name: str, values: Sequence[Json]) -> None:
    key = f"source.axes.{name}"
    if name in BUILT_IN_NAMES or not name:
        mend = "call the axis something else"
        raise RecipeError(f"{name!r} has a meaning of its own in templates", mend=mend, key=key)
    if not values:
        raise RecipeError("the axis is empty", mend="give it at least one value, or remove the axis", key=key, value=[])
    seen: set[bytes] = set()
    for value in values:
        if not isinstance(value, str | int | float):
            mend = 'write texts, numbers, true or false, such as ["India", "France"]'
            raise RecipeError("is not a single value", mend=mend, key=key, value=value)
        written = orjson.dumps(value)
        if written in seen:
            raise RecipeError("is there twice", mend="remove one of them", key=key, value=value)
        seen.add(written)
