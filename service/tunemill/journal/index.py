"""Where things stand in the journal, by id: derived from the journal, bounded in memory, thrown away.

SQLite keeps it in a nameless file beside the journal with a fixed cache, so that a million requests cost disk and not
memory.
"""

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tunemill.errors import RunFolderUnwritable
from tunemill.journal.known import (
    AnsweredSlot,
    KnownRequest,
    KnownRow,
    RequestState,
    RowBetween,
    digits_of,
    key_of,
    known_request,
    place_key,
    slot_key,
    unpacked,
)
from tunemill.journal.pending import Pending, RequestTuple, RowTuple, SlotTuple, merged_request, merged_row
from tunemill.journal.segments import Location

CACHE_KIB = 8 * 1024
FORMAT = 5  # to be raised whenever a table, or what stands in it, comes to mean something else

PENDING_MAX = 4096  # a write takes some ten milliseconds, in which nothing else is done
PENDING_MAX_WHILE_COPIED = 64 * 1024
# While lines are replayed nobody waits for anything else. What comes after a snapshot is then mostly written in one go,
# in key order: each page is read and written once, and not once for every few thousand keys that are spread over all.
PENDING_MAX_WHILE_REPLAYED = 128 * 1024
SEEN_BYTES = 4 * 1024 * 1024  # a power of two
_PIECE_BYTES = 1024 * 1024

_SCHEMA = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY, state INT, attempts INT, place INT, length INT, sent_place INT, sent_length INT);
CREATE TABLE row (id INTEGER PRIMARY KEY, place INT, length INT, position INT);
CREATE TABLE position (k INTEGER PRIMARY KEY, row INT);
CREATE TABLE slot (id INTEGER PRIMARY KEY, request INT, row INT, parent INT);
"""


class Index:
    """Requests, rows, positions of rows, and slots (row, step, sample) with the request that serves each."""

    def __init__(self, path: Path | None, *, is_image: bool = False) -> None:
        """`path` is created, opened and unlinked at once; None keeps the index in SQLite's own temporary place.

        With `is_image`, `path` is a file that `copy_to` wrote, and its content is where this index begins.
        """
        self._path = path
        self._is_written = not is_image  # since the image
        self._pending = Pending()
        # Which keys of requests and rows may be there, by their last bits. Nearly all that a new run asks for is not
        # there, and to hear that from the tables costs more than anything else about them.
        self._seen = None if is_image else bytearray(SEEN_BYTES)
        self._puts = 0  # what is pending, at most
        self.puts_max = PENDING_MAX
        self._is_still = threading.Event()  # the tables are not frozen
        self._is_still.set()
        self._turn = threading.Lock()  # for whoever begins a copy, or gives up one that has not begun
        self._is_copying = False
        self._descriptor = -1
        if path is not None and not is_image:
            path.unlink(missing_ok=True)  # a process that was killed between creating and unlinking left it
        try:
            self._db = sqlite3.connect("" if path is None else path, isolation_level=None, check_same_thread=False)
            self._db.executescript(
                f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
                f"PRAGMA cache_size=-{CACHE_KIB}; BEGIN; {'' if is_image else _SCHEMA}"
            )
            if path is not None:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except sqlite3.Error as error:
            raise _unwritable(path, error) from error
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        self._slots: Mapping[RequestState, int] | None = None  # counted, and nothing was written since

    def close(self) -> None:
        """Forget everything, after a copy that is being made."""
        self._wait_for_copy()
        self._db.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_changed(self) -> bool:
        """Whether anything was put since the image that it began with, or that was copied last."""
        return self._is_written or self._puts > 0

    # -- a copy of all of it -------------------------------------------------------------------------------------

    def write_waiting(self) -> None:
        """Write what waits in memory to the tables. Raises RunFolderUnwritable."""
        self._flush()

    def write_through(self) -> None:
        """Write what the tables hold in memory to their file. Raises RunFolderUnwritable."""
        if self._db.in_transaction:
            self._commit()

    def freeze(self) -> None:
        """Leave the tables as they are now, until `copy_to` is done. What is put meanwhile waits in memory.

        It takes as long as there is to write that was not written before. A copy that has not begun when somebody needs
        the tables is given up. Raises RunFolderUnwritable.
        """
        self._flush()
        self._commit()  # now all of it is in the file
        self._is_written = False
        self._is_still.clear()

    def copy_to(self, path: Path) -> str:
        """Copy what was frozen to a file; its checksum. May be called in any thread. Raises OSError, also where the
        copy was given up."""
        checksum = 0
        with self._turn:
            if self._is_still.is_set():
                raise OSError("somebody needed the tables before they were copied")
            self._is_copying = True
        try:
            with path.open("wb") as copy:
                at = 0
                while piece := os.pread(self._descriptor, _PIECE_BYTES, at):
                    checksum = zlib.crc32(piece, checksum)
                    copy.write(piece)
                    at += len(piece)
                copy.flush()
                os.fsync(copy.fileno())
        finally:
            self.thaw()
        return checksum_of(checksum, at)

    def thaw(self) -> None:
        """No copy is to be made (any more)."""
        self._is_copying = False
        self._is_still.set()

    def spoiled(self) -> None:
        """The copy came to nothing: what it would have held has to be copied the next time."""
        self._is_written = True

    def _wait_for_copy(self) -> None:
        """Until the tables are free. A copy that has not begun may be waiting for this very thread: it is given up."""
        with self._turn:
            if not self._is_still.is_set() and not self._is_copying:
                self.spoiled()
                self.thaw()
        self._is_still.wait()

    # -- requests ------------------------------------------------------------------------------------------------

    def request(self, request_id: str) -> KnownRequest | None:
        """What is known of a request."""
        return known_request(self._request(key_of(request_id)))

    def put_sent(self, request_id: str, attempt: int, at: Location) -> None:
        """Record a sending: the first location stays, attempts never shrink."""
        key = self._mark(request_id)
        self._pending.put_sent(key, attempt, place_key(at), at.length, state=RequestState.SENT.value)
        self._put()

    def put_outcome(self, request_id: str, state: RequestState, at: Location) -> None:
        """Record an outcome: the last one wins."""
        self._pending.put_outcome(self._mark(request_id), state.value, place_key(at), at.length)
        self._put()

    def _request(self, key: int) -> RequestTuple | None:
        if self._is_unseen(key):
            return None
        new = self._pending.requests.get(key)
        old: RequestTuple | None = self._one(_REQUEST_BY_ID, (key,))
        return old if new is None else merged_request(old, new)

    # -- rows ----------------------------------------------------------------------------------------------------

    def row(self, row_id: str) -> KnownRow | None:
        """What is known of a row."""
        return self._row(key_of(row_id))

    def is_at(self, position: int, row_id: str) -> bool:
        """Whether this row is the one at this position."""
        return self._row_key_at(position) == key_of(row_id)

    def row_at(self, position: int) -> tuple[int, KnownRow] | None:
        """The key of the row at a position of the source, and what is known of it."""
        key = self._row_key_at(position)
        known = None if key is None else self._row(key)
        return None if known is None or key is None else (key, known)

    def rows_between(self, first: int, end: int) -> list[RowBetween]:
        """In order, the rows from position `first` to before `end`, but for those whose line was damaged."""
        self._flush()
        return list(self._all(_ROWS_BETWEEN, (first, end)))

    def put_row(self, position: int, row_id: str, at: Location) -> None:
        """Record a row, with the location of its line. A line of length 0 only moves the row."""
        self._pending.put_row(self._mark(row_id), place_key(at), at.length, position)
        self._put()

    def end_positions(self, count: int) -> None:
        """The source has only so many rows now."""
        if self.positions() > count:
            self._flush()
            self._write("DELETE FROM position WHERE k>=?", [(count,)])

    def positions(self) -> int:
        """One more than the last known position."""
        found = self._one("SELECT max(k) FROM position")[0]
        return max(-1 if found is None else int(found), max(self._pending.positions, default=-1)) + 1

    def _row_key_at(self, position: int) -> int | None:
        key = self._pending.positions.get(position)
        if key is not None:
            return key
        found = self._one("SELECT row FROM position WHERE k=?", (position,))
        return None if found is None else int(found[0])

    def _row(self, key: int) -> KnownRow | None:
        if self._is_unseen(key):
            return None
        new = self._pending.rows.get(key)
        old: RowTuple | None = None
        if new is None or not new[1]:
            old = self._one("SELECT place, length, position FROM row WHERE id=?", (key,))
        found = old if new is None else merged_row(old, new)
        return None if found is None else KnownRow(unpacked(found[0], found[1]), found[2])

    # -- slots ---------------------------------------------------------------------------------------------------

    def slot(self, row_id: str, step: str, sample: int) -> tuple[int, str] | None:
        """The key of the request that serves a slot (compare with `key_of`), and its parent as the journal has it."""
        found = self._slot(slot_key(key_of(row_id), step, sample))
        return None if found is None else (found[0], "" if found[2] is None else digits_of(found[2]))

    def answered(self, slots: Iterable[int]) -> dict[int, AnsweredSlot]:
        """The answers of these slots (`slot_key`), where they have one. One question for hundreds of slots costs a
        small part of what it costs to ask for each."""
        self._flush()
        keys = orjson.dumps(sorted(slots)).decode()
        return {found[0]: found for found in self._all(_ANSWERED, (keys, RequestState.COMPLETED.value))}

    def slot_request(self, row_id: str, step: str, sample: int) -> KnownRequest | None:
        """What is known of the request that serves a slot."""
        found = self._slot(slot_key(key_of(row_id), step, sample))
        return None if found is None else known_request(self._request(found[0]))

    def put_slot(self, row_id: str, step: str, sample: int, request_id: str, parent: str) -> None:
        """Record which request serves a slot; the last one wins."""
        above, row = key_of(parent) if parent else None, key_of(row_id)
        self._pending.slots[slot_key(row, step, sample)] = (key_of(request_id), row, above)
        self._put()

    def _slot(self, key: int) -> SlotTuple | None:
        new = self._pending.slots.get(key)
        if new is not None:
            return new
        old: SlotTuple | None = self._one("SELECT request, row, parent FROM slot WHERE id=?", (key,))
        return old

    def slots_in(self, state: RequestState) -> int:
        """How many slots of rows that are in the source now are served by a request in this state. Looks at all of
        them: a few seconds for a million."""
        self._flush()
        if self._slots is None:
            counted = self._all(f"SELECT r.state, count(*) {_SLOTS_IN_SOURCE} GROUP BY r.state")
            self._slots = {RequestState(state): slots for state, slots in counted}
        return self._slots.get(state, 0)

    def positions_with(self, state: RequestState) -> Iterator[int]:
        """In order, the positions of rows of which a slot is served by a request in this state. Quick where few are."""
        self._flush()
        if self._one("SELECT 1 FROM request WHERE state=? LIMIT 1", (state.value,)) is None:
            return
        requests = "WHERE s.request IN (SELECT id FROM request WHERE state=?)"
        for (position,) in self._all(f"SELECT DISTINCT p.k {_SLOT_ROWS} {requests} ORDER BY p.k", (state.value,)):
            yield position

    # -- what was never put --------------------------------------------------------------------------------------

    def _mark(self, hex_id: str) -> int:
        """Note that a request or a row is put; gives its key."""
        key = key_of(hex_id)
        if self._seen is not None:
            self._seen[key & SEEN_BYTES - 1] = 1
        return key

    def _is_unseen(self, key: int) -> bool:
        """Whether a request or a row was surely never put. Not known of what was there when an image was opened."""
        return self._seen is not None and not self._seen[key & SEEN_BYTES - 1]

    # -- SQLite --------------------------------------------------------------------------------------------------

    def _put(self) -> None:
        self._puts += 1
        if self._puts >= self.puts_max and (self._is_still.is_set() or self._puts >= PENDING_MAX_WHILE_COPIED):
            self._flush()

    def _flush(self) -> None:
        """Write what waits; where a copy is being made, after it."""
        self._wait_for_copy()
        pending = self._pending
        if not self._db.in_transaction:
            self._one("BEGIN")
        if not self._puts:
            return
        self._write(_PUT_REQUEST, ((key, *pending.requests[key]) for key in sorted(pending.requests)))
        self._write(_PUT_ROW, ((key, *pending.rows[key]) for key in sorted(pending.rows)))
        self._write("INSERT OR REPLACE INTO position VALUES (?,?)", pending.positions.items())
        self._write(_PUT_SLOT, ((key, *pending.slots[key]) for key in sorted(pending.slots)))
        pending.clear()
        self._puts = 0

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error

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
        self._slots, self._is_written = None, True
        try:
            self._db.executemany(statement, values)
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error


_REQUEST_BY_ID = "SELECT state, attempts, place, length, sent_place, sent_length FROM request WHERE id=?"
_PUT_REQUEST = (
    "INSERT INTO request VALUES (?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
    "state=excluded.state, attempts=max(attempts, excluded.attempts), "
    "place=iif(excluded.length, excluded.place, place), length=iif(excluded.length, excluded.length, length), "
    "sent_place=iif(sent_length, sent_place, excluded.sent_place), "
    "sent_length=iif(sent_length, sent_length, excluded.sent_length)"
)
_PUT_ROW = (
    "INSERT INTO row VALUES (?,?,?,?) ON CONFLICT(id) DO UPDATE SET position=excluded.position,"
    "place=iif(excluded.length, excluded.place, place), length=iif(excluded.length, excluded.length, length)"
)
_ROWS_BETWEEN = (
    "SELECT p.k, w.id, w.place, w.length FROM position p JOIN row w ON w.id=p.row "
    "WHERE p.k>=? AND p.k<? AND w.length ORDER BY p.k"
)
_ANSWERED = (
    "SELECT s.id, r.place, r.length, r.id, s.parent FROM json_each(?) asked CROSS JOIN slot s ON s.id=asked.value "
    "JOIN request r ON r.id=s.request WHERE r.state=?"
)
_PUT_SLOT = "INSERT OR REPLACE INTO slot VALUES (?,?,?,?)"
_SLOT_ROWS = "FROM slot s JOIN row w ON w.id=s.row JOIN position p ON p.k=w.position AND p.row=w.id"
_SLOTS_IN_SOURCE = f"{_SLOT_ROWS} JOIN request r ON r.id=s.request"


def checksum_of(crc: int, size: int) -> str:
    """What tells an image that is whole from one that is not: CRC-32 and bytes, as for the journal's own lines. To make
    a digest of a hundred megabytes takes as long as to replay ten thousand lines."""
    return f"{crc:08x}-{size}"


def _unwritable(path: Path | None, error: sqlite3.Error) -> RunFolderUnwritable:
    where = "the system's temporary folder" if path is None else str(path.parent)
    return RunFolderUnwritable(f"{where}: the journal's index cannot be written ({error}); make room, then run again")
