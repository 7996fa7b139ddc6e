"""A run's journal, opened: what it says so far, and, for the one process that holds the lock, a way to add to it.

Opening replays every line that no snapshot covers, in bounded memory. Attempts that a crashed process left without an
outcome are closed with an `attempt_failed` line of kind `interrupted`, at their worst case: they may have been billed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tunemill.clock import Clock
from tunemill.errors import RunFolderError
from tunemill.events import JournalCommitted
from tunemill.files import sync_folder, translating_write_errors
from tunemill.journal.index import NOWHERE, Index, RequestState
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    DamagedLine,
    Ended,
    Failed,
    Line,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
    decode,
)
from tunemill.journal.segments import (
    LineReader,
    Location,
    damage,
    last_line,
    line_number,
    scan,
    segment_path,
    segments_of,
)
from tunemill.journal.snapshot import load, save
from tunemill.journal.totals import Totals
from tunemill.journal.writer import JournalWriter
from tunemill.model import FailureKind

_LINES_A_BATCH = 4096
_BYTES_A_BATCH = 4 * 1024 * 1024


class Journal:
    """What the journal says: totals, the index, and single lines by location."""

    def __init__(self, folder: Path, *, index_path: Path | None) -> None:
        """Replay what is in `folder` (which may not exist yet). Raises RunFolderError for damage."""
        segments = segments_of(folder)
        self.folder = folder
        self.lines_added = 0
        snapshot = load(folder, segments, index_path=index_path)
        self.totals = Totals() if snapshot is None else snapshot.totals
        self.index = Index(index_path) if snapshot is None else snapshot.index
        self._image = "" if snapshot is None else snapshot.image
        self.reader = LineReader(folder)
        # A last segment without a whole line yet is the end all the same: nothing may be added to an earlier one.
        self.end = Location(max(segments, default=1), 0, 0)
        if snapshot is not None and snapshot.end.segment == self.end.segment:
            self.end = snapshot.end
        try:
            for batch in _batches(scan(folder, segments, after=None if snapshot is None else snapshot.end)):
                self._take(batch)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close files and forget the index."""
        self.reader.close()
        self.index.close()

    def close_after(self, writer: JournalWriter) -> None:
        """Close, after the writer is done; where all is in order, a snapshot is kept for the next opening.

        In order: the last line says that the process ended on purpose, nothing is open, and whatever the writer was
        given is both on disk and taken into account. A task that was cancelled between the two leaves a difference,
        which only a replay can make good.
        """
        counts = {writer.lines_appended, writer.lines_durable, self.lines_added}
        if self.totals.ended is not None and not self.totals.unresolved and len(counts) == 1 and writer.last.length:
            save(self.folder, end=writer.last, totals=self.totals, index=self.index, image=self._image)
        self.close()

    def add(self, line: Line, location: Location) -> None:
        """Take a line into account that is durable now."""
        self.lines_added += 1
        self.totals.fold(line)
        index = self.index
        match line:
            case Sent():
                index.put_sent(((line.request, line.attempt, location),))
                index.put_slots(((line.row, line.step, line.sample, line.request, line.parent),))
            case Completed():
                index.put_outcomes(((line.request, RequestState.COMPLETED, location),))
            case _:
                _index(index, [(location, line)])

    def _take(self, batch: list[tuple[Location, bytes]]) -> None:
        decoded = [(location, self._decode(location, text)) for location, text in batch]
        for _, line in decoded:
            self.totals.fold(line)
        _index(self.index, decoded)
        if batch[-1][0].segment == self.end.segment:
            self.end = batch[-1][0]

    def _decode(self, location: Location, text: bytes) -> Line:
        try:
            return decode(text)
        except DamagedLine as error:
            path = segment_path(self.folder, location.segment)
            raise damage(path, line_number(self.folder, location), str(error)) from error


def ended_with(folder: Path) -> Ended | None:
    """The journal's last line, if it says that a process ended on purpose: a look before anything is opened. None also
    where the line cannot be read, which whoever opens the journal will say."""
    try:
        line = decode(last_line(folder))
    except (OSError, RunFolderError, DamagedLine):
        return None
    return line if isinstance(line, Ended) else None


def open_for_reading(folder: Path) -> Journal:
    """A journal that another process may be writing to; nothing is changed."""
    return Journal(folder, index_path=None)


def open_for_writing(
    folder: Path, *, clock: Clock, emit: Callable[[JournalCommitted], None]
) -> tuple[Journal, JournalWriter, list[AttemptFailed]]:
    """Replay, cut off a torn last line, and give the writer together with the lines that close what a crash left open.

    The caller holds the run folder's lock, and appends those lines first.
    """
    with translating_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    journal = Journal(folder, index_path=folder / ".index")
    end = journal.end
    path = segment_path(folder, end.segment)
    if path.exists() and path.stat().st_size > end.end:
        with translating_write_errors(path):
            os.truncate(path, end.end)
    writer = JournalWriter(folder, segment=end.segment, offset=end.end, clock=clock, emit=emit)
    return journal, writer, [_interrupted(sent, clock.wall()) for sent in journal.totals.unresolved.values()]


def _interrupted(sent: Sent, at: float) -> AttemptFailed:
    return AttemptFailed(
        at=at,
        request=sent.request,
        row=sent.row,
        step=sent.step,
        sample=sent.sample,
        attempt=sent.attempt,
        failure=FailureKind.INTERRUPTED,
        status=None,
        message="the process ended before the answer came",
        uncertain=sent.reserved,
    )


def _batches(lines: Iterable[tuple[Location, bytes]]) -> Iterator[list[tuple[Location, bytes]]]:
    batch: list[tuple[Location, bytes]] = []
    size = 0
    for location, text in lines:
        batch.append((location, text))
        size += location.length
        if len(batch) >= _LINES_A_BATCH or size >= _BYTES_A_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Gathered:
    """Lines sorted by table, so that each table is written in one go."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, Location]] = []
        self.outcomes: dict[str, tuple[RequestState, Location]] = {}
        self.rows: list[tuple[int, str, Location]] = []
        self.slots: list[tuple[str, str, int, str, str]] = []

    def flush(self, index: Index) -> None:
        if self.sent:
            index.put_sent(self.sent)
        if self.outcomes:
            index.put_outcomes((request, state, at) for request, (state, at) in self.outcomes.items())
        if self.rows:
            index.put_rows(self.rows)
        if self.slots:
            index.put_slots(self.slots)
        for gathered in (self.sent, self.outcomes, self.rows, self.slots):
            gathered.clear()


def _index(index: Index, lines: Iterable[tuple[Location, Line]]) -> None:
    """Record the lines of one batch. A request sent again after its outcome divides it."""
    gathered = _Gathered()
    for location, line in lines:
        match line:
            case Sent():
                if line.request in gathered.outcomes:
                    gathered.flush(index)
                gathered.sent.append((line.request, line.attempt, location))
                gathered.slots.append((line.row, line.step, line.sample, line.request, line.parent))
            case Completed():
                gathered.outcomes[line.request] = (RequestState.COMPLETED, location)
            case Failed():
                gathered.outcomes[line.request] = (RequestState.FAILED, location)
                if line.attempt == 0:
                    gathered.slots.append((line.row, line.step, line.sample, line.request, ""))
            case Reused():
                gathered.slots.append((line.row, line.step, line.sample, line.request, line.parent))
            case RowSeen():
                gathered.rows.append((line.position, line.row, location if line.fields is not None else NOWHERE))
            case SourceEnded():
                gathered.flush(index)
                if index.positions() > line.rows:
                    index.end_positions(line.rows)
            case _:
                pass
    gathered.flush(index)
