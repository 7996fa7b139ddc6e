"""The journal: the append-only log that is the only truth about what was sent, paid for and received."""

from tunemill.journal.glance import Glance, glance
from tunemill.journal.index import Index
from tunemill.journal.journal import Journal, ended_with, open_for_reading, open_for_writing
from tunemill.journal.keeper import SnapshotKeeper
from tunemill.journal.known import KEY_DIGITS, NOWHERE, KnownRequest, RequestState, Served, digits_of, key_of, slot_key
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Opened,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.journal.segments import Location
from tunemill.journal.snapshot import Mark, last_mark
from tunemill.journal.totals import Totals
from tunemill.journal.writer import JournalWriter

__all__ = [
    "KEY_DIGITS",
    "NOWHERE",
    "AttemptFailed",
    "Completed",
    "Ended",
    "Failed",
    "Glance",
    "Index",
    "Journal",
    "JournalWriter",
    "KnownRequest",
    "Line",
    "Location",
    "Mark",
    "Opened",
    "RequestState",
    "Reused",
    "RowSeen",
    "Sent",
    "Served",
    "SnapshotKeeper",
    "SourceEnded",
    "Totals",
    "digits_of",
    "ended_with",
    "glance",
    "key_of",
    "last_mark",
    "open_for_reading",
    "open_for_writing",
    "slot_key",
]
