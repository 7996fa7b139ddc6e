"""The journal: the append-only log that is the only truth about what was sent, paid for and received."""

from tunemill.journal.bulk import read_lines
from tunemill.journal.codec import DamagedLine, decode_answer, decode_whole
from tunemill.journal.glance import Glance, glance
from tunemill.journal.index import Index
from tunemill.journal.journal import Journal, ended_with, open_for_reading, open_for_writing
from tunemill.journal.keeper import SnapshotKeeper
from tunemill.journal.known import (
    NOWHERE,
    AnsweredSlot,
    KnownRequest,
    RequestState,
    RowBetween,
    digits_of,
    key_of,
    slot_mask,
    unpacked,
)
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Marked,
    Opened,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.journal.mark import Mark
from tunemill.journal.segments import LineReader, Location
from tunemill.journal.snapshot import last_mark
from tunemill.journal.totals import Totals
from tunemill.journal.writer import JournalWriter

__all__ = [
    "NOWHERE",
    "AnsweredSlot",
    "AttemptFailed",
    "Completed",
    "DamagedLine",
    "Ended",
    "Failed",
    "Glance",
    "Index",
    "Journal",
    "JournalWriter",
    "KnownRequest",
    "Line",
    "LineReader",
    "Location",
    "Mark",
    "Marked",
    "Opened",
    "RequestState",
    "Reused",
    "RowBetween",
    "RowSeen",
    "Sent",
    "SnapshotKeeper",
    "SourceEnded",
    "Totals",
    "decode_answer",
    "decode_whole",
    "digits_of",
    "ended_with",
    "glance",
    "key_of",
    "last_mark",
    "open_for_reading",
    "open_for_writing",
    "read_lines",
    "slot_mask",
    "unpacked",
]
