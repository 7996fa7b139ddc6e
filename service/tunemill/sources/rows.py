"""What every source promises, and how a row gets its id."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Protocol

import orjson

from tunemill.model import Json, Row


class Source(Protocol):
    """Rows, lazily and always in the same order."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that templates may use. A JSONL row may lack some of them; every other row has them all."""

    def count(self) -> int:
        """How many rows there are, with `sample` taken into account. Costs nothing for a grid or for files; a table is
        read through once."""

    def rows(self) -> Iterator[Row]:
        """Every row. Raises SourceError, naming file and line, where one cannot be read."""

    def rows_but(self, walked: int, unsettled: Sequence[int]) -> Iterator[Row]:
        """The rows numbered `unsettled` (in order, from 0, all of them below `walked`), and all from `walked` on. The
        others are passed over for next to nothing. Raises SourceError."""

    def some(self, count: int, seed: int) -> Iterator[Row]:
        """At most so many rows, spread over the whole source: for estimates. Reads no other file, and walks no grid."""

    def check(self) -> None:
        """Read everything once, keep nothing, and raise what `rows` would raise: for before money is spent."""

    def stamp(self) -> str:
        """A word that changes when a file does that rows are read from; found without reading any."""


def numbers_but(walked: int, unsettled: Sequence[int], count: int) -> Iterable[int]:
    """The numbers of those rows, of a source with so many."""
    return chain(unsettled, range(walked, count))


class NumbersBut(Container[int]):
    """The same for a source that has to read through all: whether a number is among them."""

    __slots__ = ("_unsettled", "_walked")

    def __init__(self, walked: int, unsettled: Sequence[int]) -> None:
        self._walked = walked
        self._unsettled = frozenset(unsettled)

    def __contains__(self, number: object) -> bool:
        return number in self._unsettled or (isinstance(number, int) and number >= self._walked)


def row_of(fields: Mapping[str, Json]) -> Row:
    """A row whose id is a hash of its content, whatever the order of its fields."""
    canonical = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return Row(id=blake2b(canonical, digest_size=16).hexdigest(), fields=fields)
