"""Where things stand in the journal, by id: derived from the journal, bounded in memory, thrown away.

SQLite keeps it in a nameless file beside the journal with a fixed cache, so that a million requests cost disk and not
memory. Ids are kept as their first 64 bits; two ids of one run that share them are less likely than a broken disk.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tunemill.errors import RunFolderUnwritable
from tunemill.journal.segments import Location

CACHE_KIB = 8 * 1024
FORMAT = 2  # to be raised whenever a table, or what stands in it, comes to mean something else
KEY_DIGITS = 16
_OFFSET_BITS = 40
NOWHERE = Location(0, 0, 0)

_SCHEMA = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY, state INT, attempts INT, place INT, length INT, sent_place INT, sent_length INT);
CREATE TABLE row (id INTEGER PRIMARY KEY, place INT, length INT, position INT);
CREATE TABLE position (k INTEGER PRIMARY KEY, row INT);
CREATE TABLE slot (id INTEGER PRIMARY KEY, request INT, row INT, parent INT);
CREATE TABLE counted (state INTEGER PRIMARY KEY, slots INT);
"""


class RequestState(IntEnum):
    """What the journal last said of a request."""

    SENT = 0
    COMPLETED = 1
    FAILED = 2


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


class Index:
    """Requests, rows, positions of rows, and slots (row, step, sample) with the request that serves each."""

    def __init__(self, path: Path | None, *, is_image: bool = False) -> None:
        """`path` is created, opened and unlinked at once; None keeps the index in SQLite's own temporary place.

        With `is_image`, `path` is a file that `save` wrote, and its content is where this index begins.
        """
        self._path = path
        self.is_changed = not is_image  # since the image
        if path is not None and not is_image:
            path.unlink(missing_ok=True)  # a process that was killed between creating and unlinking left it
        try:
            self._db = sqlite3.connect("" if path is None else path, isolation_level=None, check_same_thread=False)
            self._db.executescript(
                f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
                f"PRAGMA cache_size=-{CACHE_KIB}; BEGIN; {'' if is_image else _SCHEMA}"
            )
        except sqlite3.Error as error:
            raise _unwritable(path, error) from error
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        self._slots: Mapping[RequestState, int] | None = None  # counted, and nothing was written since
        if is_image:
            self._slots = {RequestState(state): slots for state, slots in self._all("SELECT * FROM counted")}

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def save(self, path: Path) -> None:
        """Copy it to a file. Raises sqlite3.Error, and is of no use afterwards."""
        self._db.execute("DELETE FROM counted")
        self._db.executemany("INSERT INTO counted VALUES (?,?)", self._counted().items())
        self._db.execute("COMMIT")
        with contextlib.closing(sqlite3.connect(path)) as copy:
            copy.execute("PRAGMA synchronous=OFF")  # whoever names the file sees to it that it is on disk
            self._db.backup(copy)

    def request(self, request_id: str) -> KnownRequest | None:
        """What is known of a request."""
        return _known(self._one(_REQUEST_BY_ID, (key_of(request_id),)))

    def put_sent(self, sent: Iterable[tuple[str, int, Location]]) -> None:
        """Record sendings (request, attempt, location): the first location stays, attempts never shrink."""
        self._write(
            "INSERT INTO request VALUES (?,0,?,0,0,?,?) ON CONFLICT(id) DO UPDATE SET "
            "state=0, attempts=max(attempts, excluded.attempts), "
            "sent_place=iif(sent_length, sent_place, excluded.sent_place), "
            "sent_length=iif(sent_length, sent_length, excluded.sent_length)",
            ((key_of(request), attempt, _pack(at), at.length) for request, attempt, at in sent),
        )

    def put_outcomes(self, outcomes: Iterable[tuple[str, RequestState, Location]]) -> None:
        """Record outcomes (request, state, location): the last one wins."""
        self._write(
            "INSERT INTO request VALUES (?,?,0,?,?,0,0) ON CONFLICT(id) DO UPDATE SET "
            "state=excluded.state, place=excluded.place, length=excluded.length",
            ((key_of(request), int(state), _pack(at), at.length) for request, state, at in outcomes),
        )

    def row(self, row_id: str) -> KnownRow | None:
        """What is known of a row."""
        return self._row(key_of(row_id))

    def is_at(self, position: int, row_id: str) -> bool:
        """Whether this row is the one at this position."""
        found = self._one("SELECT 1 FROM position WHERE k=? AND row=?", (position, key_of(row_id)))
        return found is not None

    def row_at(self, position: int) -> tuple[int, KnownRow] | None:
        """The key of the row at a position of the source, and what is known of it."""
        found = self._one("SELECT row FROM position WHERE k=?", (position,))
        known = None if found is None else self._row(found[0])
        return None if known is None else (found[0], known)

    def put_rows(self, rows: Iterable[tuple[int, str, Location]]) -> None:
        """Record rows (position, row, location of the line). A line of length 0 only moves the row."""
        listed = [(position, key_of(row), at) for position, row, at in rows]
        self._write(
            "INSERT INTO row VALUES (?,?,?,?) ON CONFLICT(id) DO UPDATE SET position=excluded.position,"
            "place=iif(excluded.length, excluded.place, place), length=iif(excluded.length, excluded.length, length)",
            ((row, _pack(at), at.length, position) for position, row, at in listed),
        )
        self._write("INSERT OR REPLACE INTO position VALUES (?,?)", ((k, row) for k, row, _ in listed))

    def end_positions(self, count: int) -> None:
        """The source has only so many rows now."""
        self._write("DELETE FROM position WHERE k>=?", [(count,)])

    def positions(self) -> int:
        """One more than the last known position."""
        found = self._one("SELECT max(k) FROM position")
        return 0 if found[0] is None else int(found[0]) + 1

    def slot(self, row_id: str, step: str, sample: int) -> tuple[int, str] | None:
        """The key of the request that serves a slot (compare with `key_of`), and its parent as the journal has it."""
        found = self._one("SELECT request, parent FROM slot WHERE id=?", (_slot_key(row_id, step, sample),))
        return None if found is None else (int(found[0]), "" if found[1] is None else digits_of(found[1]))

    def slot_request(self, row_id: str, step: str, sample: int) -> KnownRequest | None:
        """What is known of the request that serves a slot."""
        return _known(self._one(_REQUEST_BY_SLOT, (_slot_key(row_id, step, sample),)))

    def put_slots(self, slots: Iterable[tuple[str, str, int, str, str]]) -> None:
        """Record (row, step, sample, request, parent); the last one wins."""
        self._write(
            "INSERT OR REPLACE INTO slot VALUES (?,?,?,?)",
            (
                (_slot_key(row, step, sample), key_of(request), key_of(row), key_of(parent) if parent else None)
                for row, step, sample, request, parent in slots
            ),
        )

    def slots_in(self, state: RequestState) -> int:
        """How many slots of rows that are in the source now are served by a request in this state."""
        return self._counted().get(state, 0)

    def positions_with(self, state: RequestState) -> Iterator[int]:
        """In order, the positions of rows of which a slot is served by a request in this state."""
        if self.slots_in(state):
            found = self._all(f"SELECT DISTINCT p.k {_SLOTS_IN_SOURCE} WHERE r.state=? ORDER BY p.k", (int(state),))
            yield from (position for (position,) in found)

    def _counted(self) -> Mapping[RequestState, int]:
        if self._slots is None:
            counted = self._all(f"SELECT r.state, count(*) {_SLOTS_IN_SOURCE} GROUP BY r.state")
            self._slots = {RequestState(state): slots for state, slots in counted}
        return self._slots

    def _one(self, query: str, values: tuple[object, ...] = ()) -> Any:
        try:
            return self._db.execute(query, values).fetchone()
        except sqlite3.OperationalError as error:  # reading may have to make room in the cache by writing
            raise _unwritable(self._path, error) from error

    def _all(self, query: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error

    def _write(self, statement: str, values: Iterable[tuple[object, ...]]) -> None:
        self._slots, self.is_changed = None, True
        try:
            self._db.executemany(statement, values)
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error

    def _row(self, key: int) -> KnownRow | None:
        found = self._one("SELECT place, length, position FROM row WHERE id=?", (key,))
        return None if found is None else KnownRow(_unpack(found[0], found[1]), found[2])


_REQUEST_BY_ID = "SELECT state, attempts, place, length, sent_place, sent_length FROM request WHERE id=?"
_REQUEST_BY_SLOT = (
    "SELECT r.state, r.attempts, r.place, r.length, r.sent_place, r.sent_length "
    "FROM slot s JOIN request r ON r.id=s.request WHERE s.id=?"
)


_SLOTS_IN_SOURCE = (
    "FROM slot s JOIN request r ON r.id=s.request JOIN row w ON w.id=s.row "
    "JOIN position p ON p.k=w.position AND p.row=w.id"
)


def _unwritable(path: Path | None, error: sqlite3.Error) -> RunFolderUnwritable:
    where = "the system's temporary folder" if path is None else str(path.parent)
    return RunFolderUnwritable(f"{where}: the journal's index cannot be written ({error}); make room, then run again")


def _known(found: tuple[int, int, int, int, int, int] | None) -> KnownRequest | None:
    if found is None:
        return None
    state, attempts, place, length, sent_place, sent_length = found
    return KnownRequest(RequestState(state), attempts, _unpack(place, length), _unpack(sent_place, sent_length))


def _slot_key(row_id: str, step: str, sample: int) -> int:
    """The row's key with a number for step and sample mixed in, which is spread as evenly as the row's key itself."""
    return key_of(row_id) ^ _mask(step, sample)


@lru_cache(maxsize=4096)
def _mask(step: str, sample: int) -> int:
    return int.from_bytes(blake2b(f"{sample}/{step}".encode(), digest_size=8).digest(), signed=True)


def _pack(location: Location) -> int:
    return location.segment << _OFFSET_BITS | location.offset


def _unpack(place: int, length: int) -> Location:
    return Location(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1), length)
