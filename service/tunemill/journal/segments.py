"""The journal's files: `journal/000001.jsonl`, `000002.jsonl`, ... in order, each line checked on the way.

A finished one may be compressed (`000001.jsonl.zst`); where it is there as text, too, that one counts.

A torn last line (what a crash in the middle of a write leaves) is dropped. Damage anywhere else is an error that names
file and line, and is never skipped.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tunemill.errors import RunFolderError
from tunemill.frozen import quickly_made
from tunemill.journal.codec import DamagedLine, decode_whole
from tunemill.journal.compressed import CompressedSegment

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_LINE_END = re.compile(rb',"crc":"[0-9a-f]{8}"\}')


@quickly_made
@dataclass(frozen=True, slots=True)
class Location:
    """Where a line stands: segment number, byte offset, length in bytes with its newline."""

    segment: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the next line."""
        return self.offset + self.length


def segment_path(folder: Path, segment: int) -> Path:
    """The file of one segment, counted from 1."""
    return folder / f"{segment:06d}.jsonl"


def compressed_path(folder: Path, segment: int) -> Path:
    """The file of one segment that was compressed."""
    return folder / f"{segment:06d}.jsonl.zst"


def file_of(folder: Path, segment: int) -> Path:
    """The file in which a segment is."""
    plain, compressed = segment_path(folder, segment), compressed_path(folder, segment)
    return compressed if compressed.exists() and not plain.exists() else plain


def segments_of(folder: Path) -> list[int]:
    """The numbers of the segments that exist, which must be 1, 2, 3, ... without a gap."""
    names = (path.name.partition(".")[0] for ending in ("", ".zst") for path in folder.glob(f"[0-9]*.jsonl{ending}"))
    found = sorted({int(name) for name in names if name.isdigit()})
    if found != list(range(1, len(found) + 1)):
        missing = next(number for number in range(1, found[-1] + 1) if number not in found)
        raise RunFolderError(
            "a segment of the journal is missing", file=segment_path(folder, missing), mend="restore it from a copy"
        )
    return found


def scan(folder: Path, segments: Sequence[int], *, after: Location | None = None) -> Iterator[tuple[Location, bytes]]:
    """Every line of these segments (all that there are), in order, not yet parsed; with `after`, a line's place, only
    what follows it. Raises RunFolderError for damage."""
    for segment in segments:
        if after is None or segment > after.segment:
            yield from _scan_segment(folder, segment, 0, is_last=segment == segments[-1])
        elif segment == after.segment:
            yield from _scan_segment(folder, segment, after.end, is_last=segment == segments[-1])


def _scan_segment(folder: Path, segment: int, offset: int, *, is_last: bool) -> Iterator[tuple[Location, bytes]]:
    path = file_of(folder, segment)
    if path.suffix == ".zst":
        yield from _scan_compressed(path, segment, offset)
        return
    with path.open("rb", buffering=1024 * 1024) as handle:
        handle.seek(offset)
        for line in handle:
            location = Location(segment, offset, len(line))
            if not line.endswith(b"\n") or b"\0" in line:
                if is_last and is_torn_tail(line, handle):
                    return
                raise damage(path, line_number(folder, location), "it is cut off")
            yield location, line
            offset += len(line)


def _scan_compressed(path: Path, segment: int, offset: int) -> Iterator[tuple[Location, bytes]]:
    with contextlib.closing(CompressedSegment(path)) as compressed:
        for line in compressed.lines(offset):
            yield Location(segment, offset, len(line)), line
            offset += len(line)


def is_torn_tail(line: bytes, handle: IO[bytes]) -> bool:
    """Whether this is what a crash leaves at the end of a file: the beginning of a line, or zeros up to the end.
    `handle` stands behind the line."""
    whole = line.rstrip(b"\0\n")
    if (line == whole + b"\0" and _checks(whole + b"\n")) or (line == whole + b"\0\n" and _checks(whole + b"}\n")):
        return False  # all of it is there: one of its last bytes was changed
    if line.endswith(b"\n"):
        if b"\0" not in line:
            return False
        return not line.partition(b"\0")[2].strip(b"\0\n") and not handle.read(1)
    # Only a file's end has no line break (more may follow by now: another process may be writing it). Where a line is
    # whole but for its break, that byte was changed, whatever beginning of another line a crash left behind it.
    return not any(
        line[end.end() :].strip(b"\0") and _checks(line[: end.end()] + b"\n") for end in _LINE_END.finditer(line)
    )


def _checks(line: bytes) -> bool:
    try:
        decode_whole(line)
    except DamagedLine:
        return False
    return True


def last_line(folder: Path) -> bytes:
    """The last line as it stands, for a look before anything is opened; b"" where it is torn, longer
    than usual, or the only one."""
    segments = segments_of(folder)
    if not segments or file_of(folder, segments[-1]).suffix == ".zst":
        return b""
    with segment_path(folder, segments[-1]).open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _TAIL_BYTES))
        lines = handle.read().splitlines(keepends=True)
    return lines[-1] if len(lines) > 1 and lines[-1].endswith(b"\n") else b""


def damage(path: Path, line: int, what: str) -> RunFolderError:
    """The one message for a damaged line."""
    return RunFolderError(
        f"the journal is damaged: {what}",
        file=path,
        line=line,
        mend=f"`tunemill repair {shlex.quote(str(path.parent.parent))}` sets aside what is damaged and says what that "
        "costs; or restore the file from a copy",
    )


def line_number(folder: Path, location: Location) -> int:
    """The line's number in its file, counted from 1 (reads the file: for messages only)."""
    path = file_of(folder, location.segment)
    if path.suffix == ".zst":
        return sum(at.offset < location.offset for at, _ in _scan_compressed(path, location.segment, 0)) + 1
    with path.open("rb") as handle:
        return handle.read(location.offset).count(b"\n") + 1


class LineReader:
    """Reads single lines by location, keeping each segment's file open."""

    __slots__ = ("_compressed", "_descriptors", "_folder")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: dict[int, int] = {}
        self._compressed: dict[int, CompressedSegment] = {}

    def read(self, location: Location) -> dict[str, Any]:
        """The line as a plain object. Raises RunFolderError where it does not check."""
        try:
            return decode_whole(self.read_text(location))
        except DamagedLine as error:
            raise self.damaged(location, error) from error

    def damaged(self, location: Location, error: DamagedLine) -> RunFolderError:
        """What to raise for a line that does not check."""
        path = file_of(self._folder, location.segment)
        return damage(path, line_number(self._folder, location), str(error))

    def read_text(self, location: Location) -> bytes:
        """The bytes of a line, or of several that stand together, not yet checked."""
        compressed = self._compressed.get(location.segment)
        if compressed is not None:
            return compressed.read(location.offset, location.length)
        descriptor = self._descriptors.get(location.segment)
        if descriptor is None:
            path = file_of(self._folder, location.segment)
            if path.suffix == ".zst":
                self._compressed[location.segment] = CompressedSegment(path)
                return self.read_text(location)
            descriptor = self._descriptors[location.segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(descriptor, location.length, location.offset)

    def close(self) -> None:
        """Close every file."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        for compressed in self._compressed.values():
            compressed.close()
        self._compressed.clear()
