"""Reads a journal that may be damaged, byte for byte: which lines are whole, and which pieces are not.

A line is believed only if its checksum fits. Two lines between which the line break was changed are told apart again,
and a last line that lacks nothing but its break gets it: both check, so that only the changed byte is set aside.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

from tunemill.journal.codec import DamagedLine, decode
from tunemill.journal.segments import file_of, is_torn_tail, scan, segment_path

_BEGINNING = b'{"kind":"'
_KIND = re.compile(rb'^\{"kind":"([a-z_]+)",')
_REQUEST = re.compile(rb'"request_id":"([0-9a-f]{32})"')
_ROW = re.compile(rb'"row":"([0-9a-f]{32})"')
_ATTEMPT = re.compile(rb'"attempt":([0-9]{1,4})[,}]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a segment that are no line: where they stand, what is wrong, and what can still be read in them.

    `kind`, `request`, `row` and `attempt` are not checked by anything: "" or 0 where they cannot be made out.
    """

    segment: int
    line: int
    offset: int
    text: bytes
    problem: str
    is_torn: bool = False

    @property
    def digest(self) -> str:
        """What this piece is called in the line that says that it was set aside."""
        what = f"{self.segment}/{self.offset}/".encode() + self.text
        return blake2b(what, digest_size=8).hexdigest()

    @property
    def kind(self) -> str:
        """The kind of line that it was."""
        return _first(_KIND, self.text)

    @property
    def request(self) -> str:
        """The request that it was about."""
        return _first(_REQUEST, self.text)

    @property
    def row(self) -> str:
        """The row that it was about."""
        return _first(_ROW, self.text)

    @property
    def attempt(self) -> int:
        """The number of the attempt that it was about."""
        return int(_first(_ATTEMPT, self.text) or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeLine:
    """A line whose checksum fits."""

    text: bytes


Found: TypeAlias = Piece | WholeLine


def examine(folder: Path, segments: Sequence[int]) -> Iterator[tuple[int, Found]]:
    """Everything in these segments (all that there are), in order, each with its segment's number."""
    for segment in segments:
        for found in _in_segment(folder, segment, is_last=segment == segments[-1]):
            yield segment, found


def _in_segment(folder: Path, segment: int, *, is_last: bool) -> Iterator[Found]:
    if file_of(folder, segment).suffix == ".zst":
        yield from (WholeLine(text=text) for _, text in scan(folder, [segment]))
        return
    with segment_path(folder, segment).open("rb", buffering=1024 * 1024) as handle:
        offset = 0
        for number, text in enumerate(handle, 1):
            problem = problem_of(text)
            if problem is None:
                yield WholeLine(text=text)
            elif is_last and is_torn_tail(text, handle):
                rest = text + handle.read()
                what = "the beginning of a line that was being written"
                yield Piece(segment=segment, line=number, offset=offset, text=rest, problem=what, is_torn=True)
                return
            else:
                yield from _told_apart(segment, number, offset, text, problem)
            offset += len(text)


def _told_apart(segment: int, number: int, offset: int, text: bytes, problem: str) -> Iterator[Found]:
    """Lines that check, where their breaks are put back; and the rest."""
    at = begin = 0
    while (at := text.find(_BEGINNING, at + 1)) > 0:
        line = text[begin : at - 1] + b"\n"
        if problem_of(line) is None:
            yield WholeLine(text=line)
            begin = at
            yield Piece(
                segment=segment, line=number, offset=offset + at - 1, text=text[at - 1 : at], problem="a changed break"
            )
        elif problem_of(text[at:]) is None:
            yield Piece(segment=segment, line=number, offset=offset + begin, text=text[begin:at], problem=problem)
            begin = at
    rest = text[begin:]
    if problem_of(rest) is None:
        yield WholeLine(text=rest)
    elif not rest.endswith(b"\n") and problem_of(rest[:-1] + b"\n") is None:
        yield WholeLine(text=rest[:-1] + b"\n")
        last = offset + len(text) - 1
        yield Piece(segment=segment, line=number, offset=last, text=rest[-1:], problem="a changed break")
    else:
        yield Piece(segment=segment, line=number, offset=offset + begin, text=rest, problem=problem)


def problem_of(text: bytes) -> str | None:
    """What is wrong with a line; None where nothing is."""
    try:
        decode(text)
    except DamagedLine as error:
        return str(error)
    return None


def _first(pattern: re.Pattern[bytes], text: bytes) -> str:
    found = pattern.search(text)
    return found[1].decode() if found else ""
