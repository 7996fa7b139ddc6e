"""The journal: the append-only log that is the only truth about what was sent, paid for and received."""

from tunemill.journal.index import KEY_DIGITS, NOWHERE, Index, KnownRequest, RequestState, digits_of, key_of
from tunemill.journal.journal import Journal, ended_with, open_for_reading, open_for_writing
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
from tunemill.journal.totals import Totals
from tunemill.journal.writer import JournalWriter

__all__ = [
    "KEY_DIGITS",
    "NOWHERE",
    "AttemptFailed",
    "Completed",
    "Ended",
    "Failed",
    "Index",
    "Journal",
    "JournalWriter",
    "KnownRequest",
    "Line",
    "Location",
    "Opened",
    "RequestState",
    "Reused",
    "RowSeen",
    "Sent",
    "SourceEnded",
    "Totals",
    "digits_of",
    "ended_with",
    "key_of",
    "open_for_reading",
    "open_for_writing",
]
