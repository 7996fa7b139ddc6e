"""A run's journal, opened: what it says so far, and, for the one process that holds the lock, a way to add to it.

Opening replays every line that no snapshot covers, in bounded memory. Attempts that a crashed process left without an
outcome are closed with an `attempt_failed` line of kind `interrupted`, at their worst case: they may have been billed.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from tunemill.clock import Clock
from tunemill.errors import RunFolderError
from tunemill.events import JournalCommitted
from tunemill.files import sync_folder, translating_write_errors
from tunemill.journal.codec import DamagedLine, decode
from tunemill.journal.index import PENDING_MAX, PENDING_MAX_WHILE_REPLAYED, Index
from tunemill.journal.known import NOWHERE, RequestState, place_key
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Marked,
    Opened,
    Repaired,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.journal.mark import LastMark, Mark
from tunemill.journal.segments import (
    LineReader,
    Location,
    damage,
    file_of,
    last_line,
    line_number,
    scan,
    segment_path,
    segments_of,
)
from tunemill.journal.snapshot import Draft, Image, load
from tunemill.journal.totals import Totals
from tunemill.journal.writer import JournalWriter
from tunemill.model import FailureKind

# A snapshot is due after so many lines, or a part of all that there are, whichever is more: replaying them takes two or
# three seconds, and all snapshots of a run together write about twice as much as the journal itself.
LINES_DUE_MIN = 50_000
LINES_DUE_PART = 32
# A mark is due after so many lines, and takes at most so many bytes for each of them, which is a few hundredths of what
# they take. Rows that no mark covers are looked at again, which is slower than to replay their lines.
LINES_MARKED_MIN = 4096
_MARK_BYTES_A_LINE = 16


class Journal:
    """What the journal says: totals, the index, and single lines by location.

    `mark` is how far whoever wrote to it last had come, where that still holds; `mark_now` gives what is to be kept of
    it now. `on_due` is called whenever a snapshot is due, `on_mark_due` whenever a mark is. `uncounted` are the places
    of lines that were given to the writer and are not yet taken into account.
    """

    def __init__(self, folder: Path, *, index_path: Path | None) -> None:
        """Replay what is in `folder` (which may not exist yet). Raises RunFolderError for damage."""
        segments = segments_of(folder)
        self.folder = folder
        self.uncounted: dict[int, Location] = {}
        self.on_due: Callable[[], None] = _nothing
        self.on_mark_due: Callable[[], None] = _nothing
        snapshot = load(folder, segments, index_path=index_path)
        self.totals = Totals() if snapshot is None else snapshot.totals
        self.index = Index(index_path) if snapshot is None else snapshot.index
        self._last = LastMark() if snapshot is None else LastMark(mark=snapshot.mark, lines=snapshot.lines)
        self.mark_now: Callable[[], Mark | None] = lambda: self.mark
        self._image = None if snapshot is None else snapshot.image
        self._lines_since = 0
        self._lines_due = max(LINES_DUE_MIN, self._last.lines // LINES_DUE_PART)
        self._marked_at = 0  # so many lines is when the next mark is due
        self.reader = LineReader(folder)
        # A last segment without a whole line yet is the end all the same: nothing may be added to an earlier one.
        last = max(segments, default=1)
        is_compressed = file_of(folder, last).suffix == ".zst"  # then nothing is added to it either
        self.end = Location(last + is_compressed, 0, 0)
        if snapshot is not None and snapshot.end.segment == self.end.segment:
            self.end = snapshot.end
        try:
            if snapshot is not None:
                self._take((at, self.reader.read_text(at)) for at in sorted(snapshot.uncounted, key=_order))
            self.index.puts_max = PENDING_MAX_WHILE_REPLAYED
            self._take(scan(folder, segments, after=None if snapshot is None else snapshot.end))
            self.index.puts_max = PENDING_MAX
        except BaseException:
            self.close()
            raise

    @property
    def mark(self) -> Mark | None:
        """See the class."""
        return self._last.mark

    def close(self) -> None:
        """Close files and forget the index."""
        self.reader.close()
        self.index.close()

    def close_after(self, writer: JournalWriter) -> None:
        """Close, after the writer is done; a snapshot is kept for the next opening, unless not all that the writer was
        given is on disk: what stands there then, only a replay can tell."""
        if writer.lines_appended == writer.lines_durable and writer.last.length:
            draft = self.draft(writer)
            self.keep(draft, draft.write())
        self.close()

    def add(self, line: Line, location: Location) -> None:
        """Take a line into account that is durable now, or will be before the next that somebody waits for."""
        self.uncounted.pop(place_key(location), None)
        self._fold(line, location)
        if self._lines_since >= self._lines_due:
            self.on_due()
        if self._last.lines >= self._marked_at and not isinstance(line, Ended):  # that one is to be the last
            self._marked_at = self._last.lines + LINES_MARKED_MIN
            self.on_mark_due()

    # -- marks ---------------------------------------------------------------------------------------------------

    def add_mark(self, writer: JournalWriter) -> None:
        """Note how far this process has come, if that can be said. Raises RunFolderUnwritable."""
        mark = self.mark_now()
        if mark is not None:
            line = Marked(inputs=mark.inputs, walk=mark.walk, lines=self._last.lines + len(self.uncounted))
            location = writer.append(line)
            self.add(line, location)
            self._marked_at = self._last.lines + max(LINES_MARKED_MIN, location.length // _MARK_BYTES_A_LINE)

    # -- snapshots -----------------------------------------------------------------------------------------------

    def draft(self, writer: JournalWriter) -> Draft:
        """What is known at this moment, as a snapshot that may be written as soon as the writer has flushed.

        Until it is written, or dropped, the index collects in memory what it is told. Raises RunFolderUnwritable.
        """
        image = None if self.index.is_changed else self._image
        if image is None:
            self.index.freeze()
        self._lines_since = 0
        self._lines_due = max(LINES_DUE_MIN, self._last.lines // LINES_DUE_PART)
        return Draft(
            folder=self.folder,
            end=writer.last,
            uncounted=tuple(self.uncounted.values()),
            lines=self._last.lines,
            totals=self.totals.copy(),
            index=self.index,
            image=image,
            before=self._image,
            mark=self.mark_now(),
        )

    def keep(self, draft: Draft, image: Image | None) -> None:
        """The draft was written; without an image, it could not be."""
        if image is not None:
            self._image = image

    def drop(self, draft: Draft) -> None:
        """The draft is not going to be written."""
        draft.index.spoiled()
        draft.index.thaw()

    # -- lines ---------------------------------------------------------------------------------------------------

    def _take(self, lines: Iterable[tuple[Location, bytes]]) -> None:
        for location, text in lines:
            self._fold(self._decode(location, text), location)
            if location.segment == self.end.segment and location.offset >= self.end.offset:
                self.end = location

    def _fold(self, line: Line, location: Location) -> None:
        self._lines_since += 1
        self._last.take(line, uncounted=len(self.uncounted))
        self.totals.fold(line)
        record(self.index, line, location)

    def _decode(self, location: Location, text: bytes) -> Line:
        try:
            return decode(text)
        except DamagedLine as error:
            path = file_of(self.folder, location.segment)
            raise damage(path, line_number(self.folder, location), str(error)) from error


def record(index: Index, line: Line, location: Location) -> None:
    """Tell the index what a line says, and where it stands."""
    match line:
        case Sent():
            index.put_sent(line.request, line.attempt, location)
            index.put_slot(line.row, line.step, line.sample, line.request, line.parent)
        case Completed():
            index.put_outcome(line.request, RequestState.COMPLETED, location)
        case RowSeen():
            index.put_row(line.position, line.row, location if line.fields is not None else NOWHERE)
        case Failed():
            index.put_outcome(line.request, RequestState.FAILED, location)
            if line.attempt == 0:
                index.put_slot(line.row, line.step, line.sample, line.request, "")
        case Reused():
            index.put_slot(line.row, line.step, line.sample, line.request, line.parent)
        case SourceEnded():
            index.end_positions(line.rows)
        case Opened() | AttemptFailed() | Ended() | Marked() | Repaired():
            pass
        case _:
            assert_never(line)


def _nothing() -> None:
    """Nobody takes snapshots."""


def _order(location: Location) -> tuple[int, int]:
    return location.segment, location.offset


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
    writer = JournalWriter(
        folder, segment=end.segment, offset=end.end, clock=clock, emit=emit, uncounted=journal.uncounted
    )
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
