"""Text files by glob. Each file is one row with its text, its path (relative, with slashes) and its name (no suffix).

Promises: sorted by path; a file that several globs, or a symbolic link, reach is taken once; folders, hidden files and
what is no regular file are passed over, except that naming a folder means the files directly in it. Files are read one
at a time as UTF-8; a byte order mark is dropped, and Windows line ends become plain ones, so that a checkout with other
line ends has the same row ids. Only the list of paths is held in memory.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tunemill.errors import SourceError
from tunemill.model import Row
from tunemill.recipe.sections import FilesSource
from tunemill.sources.draw import Draw
from tunemill.sources.rows import numbers_but, row_of
from tunemill.sources.stamps import stamp_of

FILE_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files that were there when the source was opened. `paths` are relative to `folder` where that is possible."""

    folder: Path
    paths: Sequence[str]

    @classmethod
    def of(cls, section: FilesSource, folder: Path) -> "Files":
        """Raises SourceError for a glob that finds nothing."""
        found = [path for pattern in section.paths for path in _matches(pattern, folder)]
        paths = _without_aliases(sorted(set(found)), folder)
        if section.sample is not None:
            draw = Draw(size=len(paths), count=section.sample, seed=section.seed)
            paths = [path for index, path in enumerate(paths) if index in draw]
        return cls(folder=folder, paths=paths)

    @property
    def fields(self) -> tuple[str, ...]:
        return ("text", "path", "name")

    def count(self) -> int:
        return len(self.paths)

    def rows(self) -> Iterator[Row]:
        return (self._row(path) for path in self.paths)

    def rows_but(self, walked: int, unsettled: Sequence[int]) -> Iterator[Row]:
        return (self._row(self.paths[number]) for number in numbers_but(walked, unsettled, self.count()))

    def some(self, count: int, seed: int) -> Iterator[Row]:
        draw = Draw(size=len(self.paths), count=count, seed=seed)
        return (self._row(path) for index, path in enumerate(self.paths) if index in draw)

    def check(self) -> None:
        for path in self.paths:
            _read(self.folder / path)

    def stamp(self) -> str:
        return stamp_of(self.folder / path for path in self.paths)

    def _row(self, path: str) -> Row:
        text = _read(self.folder / path)
        return row_of({"text": text, "path": PurePath(path).as_posix(), "name": PurePath(path).stem})


def _matches(pattern: str, folder: Path) -> list[str]:
    """The regular files that one glob finds, relative to `folder`."""
    if not pattern or "\0" in pattern:
        raise SourceError("is no glob", mend='write one, such as "stories/*.txt"', key="source.paths", value=pattern)
    whole = f"{pattern}/*" if (folder / pattern).is_dir() else pattern
    # Not Path.glob: it finds hidden files too, and takes no absolute pattern.
    every = glob.iglob(whole, root_dir=folder, recursive=True)  # noqa: PTH207
    found = [path for path in every if (folder / path).is_file()]
    if not found:
        mend = f"globs are relative to {folder}; ** reaches into folders"
        raise SourceError("no file matches", mend=mend, key="source.paths", value=pattern)
    return [_relative(path, folder) for path in found]


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(folder / path, folder)


def _without_aliases(paths: list[str], folder: Path) -> list[str]:
    """One path for each file on disk: the one with the fewest folders, then the first in order."""
    by_file: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (path.count(os.sep), path)):
        by_file.setdefault(os.path.realpath(folder / path), path)
    return sorted(by_file.values())


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= FILE_BYTES_MAX else b""
    except OSError as error:
        raise SourceError(
            error.strerror or str(error), mend="make the file readable, or leave it out", file=path
        ) from error
    if size > FILE_BYTES_MAX:
        mend = "split it: one file is one row"
        raise SourceError(
            f"the file has {size:,} bytes, more than the {FILE_BYTES_MAX:,} that are read", mend=mend, file=path
        )
    return decoded(data, path).replace("\r\n", "\n")


def decoded(data: bytes, path: Path, *, first_line: int = 1) -> str:
    """`data` as text without its byte order mark. Raises SourceError naming line and byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError("the file is UTF-16, not UTF-8", mend="save it as UTF-8", file=path, line=first_line)
    if (nul := data.find(b"\0")) >= 0:
        line = first_line + data.count(b"\n", 0, nul)
        raise SourceError("there is a NUL byte: this is no text file", mend="leave the file out", file=path, line=line)
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        problem = f"byte {error.start + 1:,} (0x{data[error.start]:02x}) is not UTF-8"
        raise SourceError(problem, mend="save the file as UTF-8, or leave it out", file=path, line=line) from error
