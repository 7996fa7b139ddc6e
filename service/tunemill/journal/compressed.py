"""A finished segment in zstd: `000001.jsonl.zst`, which `zstdcat` shows as it was.

Each frame holds whole lines and carries a checksum, so that one line is read at the price of one frame. Where frames
begin is found from their headers; offsets are those of the text, so that places in the index stay right.

The module is the one that Python has from 3.14 on (`compression.zstd`); before that it comes as a package.
"""

import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from tunemill.errors import RunFolderError

FRAME_BYTES = 256 * 1024  # of text, and the rest of the line that crosses it
_LEVEL = 6
_OPTIONS: Mapping[int, int] = {
    zstd.CompressionParameter.compression_level: _LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
    zstd.CompressionParameter.content_size_flag: 1,
}


class CompressedSegment:
    """Random access to the text of one compressed segment. Raises RunFolderError where it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cached = -1
        self._text = b""
        try:
            with path.open("rb") as handle:
                self._data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            self._starts, self._texts = _frames(self._data)
        except (zstd.ZstdError, ValueError) as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._data.close()

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes of the text; fewer at its end."""
        text = b""
        first = bisect_right(self._texts, offset) - 1
        for number in range(first, len(self._starts) - 1):
            within = offset + len(text) - self._texts[number]
            text += self._frame(number)[within : within + length - len(text)]
            if len(text) == length:
                break
        return text

    def lines(self, offset: int = 0) -> Iterator[bytes]:
        """The lines from an offset on, at which one begins."""
        first = max(0, bisect_right(self._texts, offset) - 1)
        for number in range(first, len(self._starts) - 1):
            yield from self._frame(number)[max(0, offset - self._texts[number]) :].splitlines(keepends=True)

    def _frame(self, number: int) -> bytes:
        if number != self._cached:
            try:
                self._text = zstd.decompress(self._data[self._starts[number] : self._starts[number + 1]])
            except zstd.ZstdError as error:
                raise self._damaged(error) from error
            self._cached = number
        return self._text

    def _damaged(self, error: Exception) -> RunFolderError:
        mend = "restore it from a copy: what was compressed cannot be read around the damage"
        return RunFolderError(f"the journal is damaged: a compressed segment ({error})", file=self.path, mend=mend)


def _frames(data: mmap.mmap) -> tuple[list[int], list[int]]:
    """Where each frame begins in the file, and in the text; both with the end."""
    starts, texts = [0], [0]
    view = memoryview(data)
    try:
        while starts[-1] < len(data):
            rest = view[starts[-1] :]
            size = zstd.get_frame_info(rest[:32]).decompressed_size
            if size is None:
                raise ValueError("a frame does not say how long it is")
            starts.append(starts[-1] + zstd.get_frame_size(rest))
            texts.append(texts[-1] + size)
            rest.release()
    finally:
        view.release()
    return starts, texts


def compress(source: IO[bytes], target: IO[bytes]) -> None:
    """Write the lines of a segment in frames."""
    gathered: list[bytes] = []
    size = 0
    for line in source:
        gathered.append(line)
        size += len(line)
        if size >= FRAME_BYTES:
            target.write(zstd.compress(b"".join(gathered), options=_OPTIONS))
            gathered, size = [], 0
    if gathered:
        target.write(zstd.compress(b"".join(gathered), options=_OPTIONS))


def text_of(path: Path) -> Iterator[bytes]:
    """The whole text of a compressed segment, line by line."""
    segment = CompressedSegment(path)
    try:
        yield from segment.lines()
    finally:
        segment.close()
