"""Takes a snapshot of the journal now and then while a run goes on, so that also a killed one is resumed quickly; and
more often notes in the journal how far the run has come.

The event loop gives it a few milliseconds at a time: what waits in memory is written to the index's tables, then these
to their file, and then, with the little that came meanwhile, the small figures are copied. Copying the tables is a
thread's work; until it is done, the index collects in memory what it is told.
"""

import asyncio
import contextlib

from tunemill.errors import RunFolderUnwritable
from tunemill.journal.journal import Journal
from tunemill.journal.writer import JournalWriter


class SnapshotKeeper:
    """`run` takes a snapshot whenever the journal has grown enough, until `close`."""

    def __init__(self, journal: Journal, writer: JournalWriter) -> None:
        self._journal = journal
        self._writer = writer
        self._wake = asyncio.Event()
        self._is_closing = False
        journal.on_due = self._wake.set
        journal.on_mark_due = self._mark

    async def run(self) -> None:
        """See the class. Where nothing can be written any more, whoever waits for a line is told so, not here."""
        with contextlib.suppress(RunFolderUnwritable):
            while not self._is_closing:
                await self._wake.wait()
                self._wake.clear()
                if not self._is_closing:
                    await self.take()

    def _mark(self) -> None:
        with contextlib.suppress(RunFolderUnwritable):  # as in `run`
            self._journal.add_mark(self._writer)

    def close(self) -> None:
        """Let `run` return, after the snapshot that it is taking."""
        self._is_closing = True
        self._wake.set()

    async def take(self) -> None:
        """Take one now. Raises RunFolderUnwritable."""
        for write in (self._journal.index.write_waiting, self._journal.index.write_through):
            write()
            await asyncio.sleep(0)
        draft = self._journal.draft(self._writer)
        try:
            await self._writer.flush()
        except BaseException:
            self._journal.drop(draft)
            raise
        self._journal.keep(draft, await asyncio.to_thread(draft.write))
