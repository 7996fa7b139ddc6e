"""A journal at a glance: its totals without an index, and without reading what a snapshot covers.

What came after the last snapshot is read as well, if it is not too much; else the totals are those of the snapshot,
which is said. Nothing is opened for writing, and no line that a snapshot covers is looked at.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunemill.journal.codec import DamagedLine, decode
from tunemill.journal.journal import ended_with
from tunemill.journal.lines import Ended
from tunemill.journal.mark import LastMark, Mark
from tunemill.journal.segments import LineReader, Location, damage, file_of, line_number, scan, segments_of
from tunemill.journal.snapshot import FACTS, covers, mark_in, read_facts
from tunemill.journal.totals import Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What was seen. `read_bytes` came after the snapshot and were read, or `unread_bytes` were too many for that, and
    the totals are those of `known_at` (seconds since the epoch; 0: there is no snapshot). `ended` is how the last
    process ended, if on purpose."""

    totals: Totals
    mark: Mark | None
    ended: Ended | None
    read_bytes: int
    unread_bytes: int
    known_at: float
    changed_at: float


def glance(folder: Path, *, bytes_max: int) -> Glance:
    """Look; at most about so many bytes are read. Raises RunFolderError for damage in them, and OSError."""
    segments = segments_of(folder)
    changed_at = max((file_of(folder, segment).stat().st_mtime for segment in segments), default=0.0)
    seen = _Seen.of(folder, segments)
    unread = _bytes_after(folder, segments, seen.end)
    if unread > bytes_max:
        return Glance(
            totals=seen.totals,
            mark=seen.last.mark,
            ended=ended_with(folder),
            read_bytes=0,
            unread_bytes=unread,
            known_at=seen.at,
            changed_at=changed_at,
        )
    seen.read_on(segments)
    return Glance(
        totals=seen.totals,
        mark=seen.last.mark,
        ended=seen.totals.ended,
        read_bytes=unread,
        unread_bytes=0,
        known_at=changed_at,
        changed_at=changed_at,
    )


class _Seen:
    """What a snapshot says, and from there on every line that is shown to it."""

    def __init__(self, folder: Path) -> None:
        self.totals = Totals()
        self.last = LastMark()
        self.end: Location | None = None
        self.at = 0.0
        self._uncounted: Sequence[Location] = ()
        self._folder = folder

    @classmethod
    def of(cls, folder: Path, segments: Sequence[int]) -> "_Seen":
        seen = cls(folder)
        try:
            facts = read_facts(folder)
            if facts is None or not covers(folder, segments, facts):
                return seen
            seen.totals = Totals.of_json(facts["totals"])
            seen.last = LastMark(mark=mark_in(facts), lines=facts["lines"])
            seen.end = Location(*facts["end"])
            seen.at = (folder / FACTS).stat().st_mtime
            seen._uncounted = [Location(*at) for at in facts["uncounted"]]
        except (OSError, ValueError, KeyError, TypeError):
            return cls(folder)
        return seen

    def read_on(self, segments: Sequence[int]) -> None:
        with contextlib.closing(LineReader(self._folder)) as reader:
            for at in sorted(self._uncounted, key=lambda each: (each.segment, each.offset)):
                self._take(at, reader.read_text(at))
        for at, text in scan(self._folder, segments, after=self.end):
            self._take(at, text)

    def _take(self, at: Location, text: bytes) -> None:
        try:
            line = decode(text)
        except DamagedLine as error:
            raise damage(file_of(self._folder, at.segment), line_number(self._folder, at), str(error)) from error
        self.totals.fold(line)
        self.last.take(line)


def _bytes_after(folder: Path, segments: Sequence[int], end: Location | None) -> int:
    """How much of the journal there is behind that line; a compressed segment counts as what it takes on disk."""
    sizes = {segment: file_of(folder, segment).stat().st_size for segment in segments}
    if end is None:
        return sum(sizes.values())
    later = sum(size for segment, size in sizes.items() if segment > end.segment)
    return later + max(0, sizes.get(end.segment, 0) - end.end)
