"""A CSV, TSV or JSONL file, read as it streams by; the columns are the fields.

CSV: the first line names the columns. The delimiter is a tab in a .tsv file, and otherwise whichever of , ; tab | is in
the header most often. Quoted fields may hold line ends and be of any length. Every value is text as it is written.

JSONL: one JSON object a line; values stay what they are (lists and objects too). Lines may lack columns: a template
that uses one sets that row aside. `fields` are the columns of the first `HEAD_LINES` lines.

Both: a byte order mark is dropped, blank lines are passed over, and everything that is wrong is named with its line.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson

from tunemill.errors import SourceError
from tunemill.model import Json, Row
from tunemill.recipe.sections import TableSource
from tunemill.sources.draw import Draw
from tunemill.sources.files import decoded
from tunemill.sources.rows import NumbersBut, row_of
from tunemill.sources.stamps import stamp_of

HEAD_LINES = 1000
FIELD_CHARS_MAX = 64 * 2**20
LINE_BYTES_MAX = 64 * 2**20
_DELIMITERS = ",;\t|"
_JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_CSV_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".tab"})

Records = Iterator[tuple[int, Mapping[str, Json]]]  # each with the line on which it begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One file of records. `read` opens it anew and yields every record."""

    path: Path
    fields: tuple[str, ...]
    read: Callable[[], Records]
    sample: int | None
    seed: int

    def count(self) -> int:
        everything = sum(1 for _ in self.read())
        return everything if self.sample is None else min(self.sample, everything)

    def rows(self) -> Iterator[Row]:
        """In the file's order, also when only some are drawn."""
        return (row_of(fields) for fields in self._records())

    def rows_but(self, walked: int, unsettled: Sequence[int]) -> Iterator[Row]:
        wanted = NumbersBut(walked, unsettled)
        return (row_of(fields) for number, fields in enumerate(self._records()) if number in wanted)

    def check(self) -> None:
        self.count()

    def stamp(self) -> str:
        return stamp_of([self.path])

    def some(self, count: int, seed: int) -> Iterator[Row]:
        wanted = frozenset(Draw(size=self.count(), count=count, seed=seed))
        return (row_of(fields) for index, fields in enumerate(self._records()) if index in wanted)

    def _records(self) -> Iterator[Mapping[str, Json]]:
        if self.sample is None:
            return (fields for _, fields in self.read())
        draw = Draw(size=sum(1 for _ in self.read()), count=self.sample, seed=self.seed)
        return (fields for index, (_, fields) in enumerate(self.read()) if index in draw)


def open_table(section: TableSource, folder: Path) -> Table:
    """Reads the header and the first rows. Raises SourceError."""
    path = folder / section.path
    _check_is_a_file(path, section.path)
    suffix = path.suffix.lower()
    if suffix in _JSONL_SUFFIXES:
        read, fields = _jsonl(path)
    elif suffix in _CSV_SUFFIXES:
        read, fields = _csv(path)
    else:
        mend = "name it .csv, .tsv or .jsonl, so that it is known how to read it"
        raise SourceError(
            f"{suffix or 'no suffix'!r} is no kind of table", mend=mend, key="source.path", value=section.path
        )
    return Table(path=path, fields=fields, read=read, sample=section.sample, seed=section.seed)


def _check_is_a_file(path: Path, written: str) -> None:
    if path.is_file():
        return
    problem = "is a folder" if path.is_dir() else "there is no such file"
    mend = f"paths are relative to the recipe: this is {path}"
    raise SourceError(problem, mend=mend, key="source.path", value=written)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The file's lines with their numbers, decoded one at a time, so that what is wrong has a line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_bounded_lines(file, path), start=1):
                yield number, decoded(line, path, first_line=number)
    except OSError as error:
        raise SourceError(error.strerror or str(error), mend="make the file readable", file=path) from error


def _bounded_lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            mend = "is this a table, with a record a line?"
            raise SourceError(f"the line is longer than {LINE_BYTES_MAX:,} bytes", mend=mend, file=path, line=number)
        yield line


def _jsonl(path: Path) -> tuple[Callable[[], Records], tuple[str, ...]]:
    def read() -> Records:
        return _json_records(path)

    columns: dict[str, None] = {}
    for _, fields in islice(read(), HEAD_LINES):
        columns |= dict.fromkeys(fields)
    if not columns:
        raise SourceError("there is no record in the file", mend="write one JSON object a line", file=path)
    return read, tuple(columns)


def _json_records(path: Path) -> Records:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            mend = "write one whole JSON object a line, with no comma after it"
            raise SourceError(
                f"not JSON at column {error.colno} ({error.msg})", mend=mend, file=path, line=number
            ) from error
        if not isinstance(record, dict):
            mend = 'write an object with names, such as {"text": "..."}'
            raise SourceError(f"this is a JSON {_kind(record)}, not an object", mend=mend, file=path, line=number)
        yield number, record


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    return {str: "string", bool: "boolean", list: "array"}.get(type(value), "number")


def _csv(path: Path) -> tuple[Callable[[], Records], tuple[str, ...]]:
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else _delimiter(path)
    header_line, header = next(_csv_cells(path, delimiter), (1, []))
    _check_header(header, path, header_line)

    def read() -> Records:
        return _csv_records(path, delimiter, tuple(header))

    if next(read(), None) is None:
        raise SourceError("there is a header and no row below it", mend="add rows", file=path, line=header_line)
    return read, tuple(header)


def _csv_records(path: Path, delimiter: str, header: tuple[str, ...]) -> Records:
    cells_by_line = _csv_cells(path, delimiter)
    next(cells_by_line, None)
    for number, cells in cells_by_line:
        if len(cells) != len(header):
            problem = f"{len(cells)} cells, and the header names {len(header)} columns"
            mend = f"quote a cell that holds {delimiter!r} or a line end, and leave none out"
            raise SourceError(problem, mend=mend, file=path, line=number)
        yield number, dict(zip(header, cells, strict=True))


def _csv_cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every record's cells with the line on which it begins; blank lines are left out."""
    csv.field_size_limit(FIELD_CHARS_MAX)
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    first_line = 1
    try:
        for cells in reader:
            if cells:
                yield first_line, cells
            first_line = reader.line_num + 1
    except csv.Error as error:
        mend = 'a quote inside a quoted cell is written twice (""), and every opened quote is closed'
        raise SourceError(f"not CSV ({error})", mend=mend, file=path, line=first_line) from error


def _delimiter(path: Path) -> str:
    """Whichever candidate is most often in the header outside quotes; a comma where there is none."""
    _, header = next(((number, line) for number, line in _lines(path) if line.strip()), (1, ""))
    outside_quotes = "".join(header.split('"')[::2])
    counts = Counter(character for character in outside_quotes if character in _DELIMITERS)
    return max(_DELIMITERS, key=lambda delimiter: counts[delimiter])


def _check_header(header: list[str], path: Path, line: int) -> None:
    mend = "the first line names the columns, each differently"
    if not header:
        raise SourceError("the file is empty", mend=mend, file=path)
    for position, name in enumerate(header, start=1):
        if not name.strip():
            raise SourceError(f"column {position} has no name", mend=mend, file=path, line=line)
        if header.count(name) > 1:
            raise SourceError(f"there are two columns {name!r}", mend=mend, file=path, line=line)
    if all(_is_number(name) for name in header):
        raise SourceError("the header is all numbers, so it is probably a row", mend=mend, file=path, line=line)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
