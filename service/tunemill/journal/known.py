"""What the index knows, as values, and the 64-bit numbers under which it keeps it.

Ids are kept as their first 64 bits; two ids of one run that share them are less likely than a broken disk.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

from tunemill.frozen import quickly_made
from tunemill.journal.pending import RequestTuple
from tunemill.journal.segments import Location

KEY_DIGITS = 16
_OFFSET_BITS = 40
NOWHERE = Location(0, 0, 0)

# As the tables have them, because a build asks for millions.
RowBetween: TypeAlias = tuple[int, int, int, int]  # position, key, and of its line the packed place and the length
AnsweredSlot: TypeAlias = tuple[int, int, int, int, int | None]  # key, place, length; keys of its request and parent


class RequestState(IntEnum):
    """What the journal last said of a request."""

    SENT = 0
    COMPLETED = 1
    FAILED = 2


@quickly_made
@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request that the journal has. `attempts` counts all sendings.

    `outcome` is where its completed or failed line is, `sent` where its first sent line (the one with the body) is; a
    length of 0 says that there is none.
    """

    state: RequestState
    attempts: int
    outcome: Location
    sent: Location


@quickly_made
@dataclass(frozen=True, slots=True)
class KnownRow:
    """Where the line with a row's fields is, and the position at which the row was last seen."""

    location: Location
    position: int


def key_of(hex_id: str) -> int:
    """A 32-digit id as the signed 64-bit number that SQLite likes."""
    return int(hex_id[:KEY_DIGITS], 16) - (1 << 63)


def digits_of(key: int) -> str:
    """The 16 digits that `key_of` makes this key of."""
    return f"{key + (1 << 63):016x}"


def known_request(found: RequestTuple | None) -> KnownRequest | None:
    """A row of the index's table as a value."""
    if found is None:
        return None
    state, attempts, place, length, sent_place, sent_length = found
    return KnownRequest(RequestState(state), attempts, unpacked(place, length), unpacked(sent_place, sent_length))


def slot_key(row_key: int, step: str, sample: int) -> int:
    """A row's key with a number for step and sample mixed in, which is spread as evenly as the row's key itself."""
    return row_key ^ slot_mask(step, sample)


@lru_cache(maxsize=4096)
def slot_mask(step: str, sample: int) -> int:
    return int.from_bytes(blake2b(f"{sample}/{step}".encode(), digest_size=8).digest(), signed=True)


def place_key(location: Location) -> int:
    """Segment and offset as one number."""
    return location.segment << _OFFSET_BITS | location.offset


def unpacked(place: int, length: int) -> Location:
    """The location whose `place_key` is `place`."""
    return Location(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1), length)
