"""Appends to the journal with group commit: one task writes and fsyncs whatever lines have gathered, then lets
everybody who waited for them go on.

Promise: when `commit` returns, the line is on disk. When writing fails once, nothing is written any more and every
`commit` from then on raises `RunFolderUnwritable`: after a failed fsync nobody knows what the disk holds.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiofiles
from aiofiles.os import wrap

from tunemill.clock import Clock
from tunemill.errors import RunFolderUnwritable
from tunemill.events import JournalCommitted
from tunemill.files import sync_folder, unwritable
from tunemill.journal.codec import encode
from tunemill.journal.known import place_key
from tunemill.journal.lines import Line
from tunemill.journal.segments import SEGMENT_BYTES_MAX, Location, segment_path
from tunemill.statistics import JournalLevel


def _write_and_sync(descriptor: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:  # less than it is given may be taken: on a disk that is filling up, for one
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


_write_durably = wrap(_write_and_sync)  # in one go, as each turn of a thread costs more than the work


class _Batch:
    """Lines that become durable together, or do not: `error` says why."""

    __slots__ = ("_is_done", "_waiters", "error", "lines", "segment")

    def __init__(self, segment: int) -> None:
        self.segment = segment
        self.lines: list[bytes] = []
        self.error: RunFolderUnwritable | None = None
        self._is_done = False
        self._waiters: list[asyncio.Future[None]] = []  # what an Event would keep, at half the price

    def end(self, error: RunFolderUnwritable | None) -> None:
        """Let everybody go on who waits for these lines."""
        self.error = error
        self._is_done = True
        for waiter in self._waiters:
            if not waiter.done():  # cancelled
                waiter.set_result(None)
        self._waiters.clear()

    async def durable(self) -> None:
        """Return when the lines are on disk. Raises RunFolderUnwritable where nobody knows whether they are."""
        if not self._is_done:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.error is not None:
            raise self.error


class JournalWriter:
    """The one writer of a journal. `run` must be running (in the caller's TaskGroup) for `commit` to return.

    `lines_appended` and `lines_durable` count what this writer was given and what is on disk; `last` is where the line
    stands that was given last (of length 0 before the first). Each line's place is put into `uncounted`, from where
    whoever takes it into account removes it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment: int,
        offset: int,
        clock: Clock,
        emit: Callable[[JournalCommitted], None],
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        uncounted: dict[int, Location] | None = None,
    ) -> None:
        self._folder = folder
        self._segment = segment
        self._offset = offset
        self.last = Location(segment, offset, 0)
        self.lines_appended = 0
        self.lines_durable = 0
        self._clock = clock
        self._emit = emit
        self._segment_bytes_max = segment_bytes_max
        self._uncounted = {} if uncounted is None else uncounted
        self._batches: list[_Batch] = []
        self._writing: _Batch | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._error: RunFolderUnwritable | None = None
        self._write_failures = 0
        self._writing_since: float | None = None
        self._file: Any = None  # aiofiles types its unbuffered files as Any
        self._file_segment = 0

    def append(self, line: Line) -> Location:
        """Queue a line; it becomes durable with, or before, the next line that is committed."""
        return self._append(line)[0]

    async def commit(self, line: Line) -> Location:
        """Queue a line and return when it is durable. Raises RunFolderUnwritable."""
        location, batch = self._append(line)
        await batch.durable()
        return location

    async def flush(self) -> None:
        """Return when everything queued so far is durable, and can be read. Raises RunFolderUnwritable."""
        batch = self._batches[-1] if self._batches else self._writing
        if batch is not None:
            await batch.durable()

    def level(self) -> JournalLevel:
        """How it gets on."""
        since = self._writing_since
        return JournalLevel(
            lines_pending=self.lines_appended - self.lines_durable,
            write_s=0.0 if since is None else self._clock.monotonic() - since,
            write_failures=self._write_failures,
        )

    def close(self) -> None:
        """Let `run` return once everything queued is durable."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write batches until closed. Ends quietly after a failure, which `commit` reports to everybody. However it
        ends, nobody waits for it afterwards."""
        try:
            while not (self._closing and not self._batches) and self._error is None:
                await self._wake.wait()
                self._wake.clear()
                while self._batches and self._error is None:
                    self._writing = self._batches.pop(0)
                    await self._write(self._writing)
        finally:
            if self._error is None:
                self._error = RunFolderUnwritable(f"{self._folder}: the journal was closed before the line was written")
            for batch in self._batches:
                batch.end(self._error)
            self._batches.clear()
            if self._file is not None:
                await self._file.close()

    def _append(self, line: Line) -> tuple[Location, _Batch]:
        if self._error is not None:
            raise self._error
        text = encode(line)
        if self._offset + len(text) > self._segment_bytes_max and self._offset > 0:
            self._segment, self._offset = self._segment + 1, 0
        location = self.last = Location(self._segment, self._offset, len(text))
        self._uncounted[place_key(location)] = location
        self._offset += len(text)
        self.lines_appended += 1
        if not self._batches or self._batches[-1].segment != self._segment:
            self._batches.append(_Batch(self._segment))
        batch = self._batches[-1]
        batch.lines.append(text)
        self._wake.set()
        return location, batch

    async def _write(self, batch: _Batch) -> None:
        started = self._writing_since = self._clock.monotonic()
        text = b"".join(batch.lines)
        try:
            await self._open(batch.segment)
            await _write_durably(self._file.fileno(), text)
        except OSError as error:
            self._error = unwritable(segment_path(self._folder, batch.segment), error)
            self._error.__cause__ = error
            self._write_failures += 1
            batch.end(self._error)
        except BaseException:
            # Cancelled in the middle: nobody knows how much of it is on disk.
            batch.end(RunFolderUnwritable(f"{self._folder}: the journal was closed while the line was being written"))
            raise
        else:
            self.lines_durable += len(batch.lines)
            batch.end(None)
            seconds = self._clock.monotonic() - started
            self._emit(JournalCommitted(lines=len(batch.lines), bytes_written=len(text), seconds=seconds))
        finally:
            self._writing_since = None

    async def _open(self, segment: int) -> None:
        if self._file_segment == segment:
            return
        if self._file is not None:
            await self._file.close()
        self._file = await aiofiles.open(segment_path(self._folder, segment), "ab", buffering=0)
        self._file_segment = segment
        sync_folder(self._folder)
