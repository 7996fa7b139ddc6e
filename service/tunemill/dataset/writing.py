"""Writes several files that appear together: temporary files beside them, fsync, then the renames in one go.

A crash leaves each file old or new, never torn. Between the renames some can be new and some old; that is why the one
that records the others' hashes is put in place last (see `current`). Whoever calls holds the run folder's lock, so the
temporary names are fixed and a crash leaves nothing to pile up.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from tunemill.files import sync_folder, translating_write_errors, unwritable
from tunemill.model import Json

_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What a finished file holds: bytes, lines, and the SHA-256 of it all as 64 hex digits."""

    size: int
    lines: int
    sha256: str

    def to_json(self) -> dict[str, Json]:
        return {"bytes": self.size, "lines": self.lines, "sha256": self.sha256}


class _Pending:
    """One file on its way. Lines are gathered to a megabyte before they are hashed and written."""

    __slots__ = ("_handle", "_hash", "_lines", "_pieces", "_size", "_waiting", "path", "temporary")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.tmp")
        with translating_write_errors(path):
            self._handle = self.temporary.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._lines = 0

    def write_lines(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        piece = b"\n".join(lines)
        self._pieces += (piece, b"\n")
        self._waiting += len(piece) + 1
        self._lines += len(lines)
        if self._waiting >= _BUFFER_BYTES:
            self._write_out()

    def write_text(self, content: bytes) -> None:
        self._pieces.append(content)
        self._lines += content.count(b"\n")
        self._write_out()

    def seal(self) -> FileRecord:
        self._write_out()
        with translating_write_errors(self.path):
            os.fsync(self._handle.fileno())
            self._handle.close()
        return FileRecord(size=self._size, lines=self._lines, sha256=self._hash.hexdigest())

    def place(self) -> None:
        with translating_write_errors(self.path):
            self.temporary.replace(self.path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # whatever keeps it from going away has been told by then
            self._handle.close()
            self.temporary.unlink(missing_ok=True)

    def _write_out(self) -> None:
        content = memoryview(b"".join(self._pieces))
        self._pieces.clear()
        self._waiting = 0
        self._hash.update(content)
        self._size += len(content)
        try:
            while content:  # an unbuffered write may be partial
                content = content[self._handle.write(content) :]
        except OSError as error:
            raise unwritable(self.path, error) from error


class FileSet:
    """Files of one folder that are replaced together, or not at all when the block raises."""

    __slots__ = ("_folder", "_pending", "_records")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: dict[str, _Pending] = {}
        self._records: dict[str, FileRecord] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pending in self._pending.values():
            with translating_write_errors(pending.path):
                pending.discard()

    def open(self, *names: str) -> None:
        """Begin files that are written line by line."""
        for name in names:
            self._pending[name] = _Pending(self._folder / name)

    def write_lines(self, name: str, lines: Sequence[bytes]) -> None:
        """Add lines; the line feeds are added here."""
        self._pending[name].write_lines(lines)

    def seal(self, name: str) -> FileRecord:
        """Nothing more will be written: make the content durable, under its temporary name."""
        self._records[name] = self._pending[name].seal()
        return self._records[name]

    def write_whole(self, name: str, content: bytes) -> FileRecord:
        """A file at once."""
        self.open(name)
        self._pending[name].write_text(content)
        return self.seal(name)

    def drop(self, name: str) -> None:
        """Forget a file that was begun; one of that name from before is removed when the others are placed."""
        self._pending.pop(name).discard()
        self._records.pop(name, None)

    def place(self, *, without: str = "") -> Mapping[str, FileRecord]:
        """Rename all, in the order in which they were opened, and remove the one that shall not be there any more."""
        assert self._pending.keys() == self._records.keys(), "every file is sealed before any is placed"
        last = len(self._pending) - 1
        for index, pending in enumerate(self._pending.values()):
            if index == last and without:
                with translating_write_errors(self._folder / without):
                    (self._folder / without).unlink(missing_ok=True)
            pending.place()
        with translating_write_errors(self._folder):
            sync_folder(self._folder)
        self._pending.clear()
        return dict(self._records)


def dump_text(value: Json, *, indented: bool = False) -> bytes:
    """JSON for people and `jq`: what JSON cannot hold (half a surrogate pair, a huge number) is shown, not refused."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if indented else 0
    try:
        return orjson.dumps(value, option=option)
    except TypeError:  # orjson's own error class is one
        return orjson.dumps(_mended(value), option=option)


def _mended(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case Mapping():
            return {str(_mended(key)): _mended(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_mended(inner) for inner in value]
        case _:
            return value
