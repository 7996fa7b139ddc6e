"""Reads a file line by line, whatever its size and however broken, and says what is wrong with each line as text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import orjson

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.errors import ArgumentError
from tunemill.model import JsonObject

LINE_BYTES_MAX = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that holds a JSON object. `number` counts from 1; `raw` is without its line end."""

    number: int
    raw: bytes
    value: JsonObject


Read: TypeAlias = Line | Fault


def read_lines(path: Path) -> Iterator[Read]:
    """Each line, as an object or as the fault that keeps it from being one; a byte order mark is a fault beside.

    Raises:
        ArgumentError: there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb", buffering=1 << 20) as handle:
            yield from _lines_of(handle)
    except OSError as error:
        mend = "name a file that can be read"
        raise ArgumentError(f"cannot be read ({error.strerror})", mend=mend, file=path) from error


def _lines_of(handle: BinaryIO) -> Iterator[Read]:
    number = 0
    while raw := handle.readline(LINE_BYTES_MAX):
        number += 1
        if number == 1 and raw.startswith(_WIDE_MARKS):
            yield fault(FaultKind.NOT_UTF8, "", "the file is UTF-16", line=1)
            return
        if number == 1 and raw.startswith(_BOM):
            yield fault(FaultKind.BOM, "", "the file starts with a byte order mark", line=1)
            raw = raw.removeprefix(_BOM)
        if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            _skip_line(handle)
            problem = f"is longer than {LINE_BYTES_MAX >> 20} MB"
            yield fault(FaultKind.LINE_TOO_LONG, "", problem, line=number)
            continue
        yield _parsed(number, raw.rstrip(b"\r\n"))


def _parsed(number: int, raw: bytes) -> Read:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _unreadable(number, raw, error)
    if not isinstance(value, dict):
        return fault(FaultKind.NOT_AN_OBJECT, "", "is not an object", line=number)
    return Line(number=number, raw=raw, value=value)


def _unreadable(number: int, raw: bytes, error: orjson.JSONDecodeError) -> Fault:
    if not raw.strip():
        return fault(FaultKind.EMPTY_LINE, "", "is empty", line=number)
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return fault(FaultKind.NOT_UTF8, "", f"byte {wrong.start + 1} is not UTF-8", line=number)
    return fault(FaultKind.INVALID_JSON, "", f"column {error.colno}: {error.msg}", line=number)


def _skip_line(handle: BinaryIO) -> None:
    while (rest := handle.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass
