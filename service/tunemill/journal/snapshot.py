"""The index and the totals as they were when a writer last closed, so that opening need not replay the whole journal.

A cache: made of the journal, never changed once it is in place (whoever opens it works on a copy), and ignored whenever
there is any doubt. It is believed only if this version wrote it, if its two files are whole, if the segments that it
covers have the sizes and times of change that they had then (the last one may have grown since), and if the last line
that it covers stands where it stood. Then only what comes after is replayed.

What it trades: a line behind a snapshot is checked when it is read, and no more at every opening. What a broken disk
changes there without a trace in a file's size or time is found when the line is wanted; the totals do not depend on it.
"""

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import tunemill
from tunemill.errors import RunFolderUnwritable
from tunemill.files import write_whole
from tunemill.journal.index import FORMAT, Index
from tunemill.journal.segments import Location, segment_path
from tunemill.journal.totals import Totals

FACTS = ".index.json"
IMAGE = ".index.sqlite"
_PIECE_BYTES = 1024 * 1024
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What stood in the journal up to and including the line at `end`. `image` is the digest of the index's file."""

    end: Location
    totals: Totals
    index: Index
    image: str


def save(folder: Path, *, end: Location, totals: Totals, index: Index, image: str) -> None:
    """Keep both for the next opening; `end` is the journal's last line. The index is of no use afterwards.

    `image` is the loaded snapshot's, or "". Where the files cannot be written there is no snapshot: nothing depends on
    it.
    """
    with contextlib.suppress(OSError, sqlite3.Error, RunFolderUnwritable):
        facts = {
            "format": FORMAT,
            "tunemill": tunemill.__version__,
            "end": [end.segment, end.offset, end.length],
            "last_line": _digest_of_line(folder, end),
            "segments": [_size_and_time(folder, segment) for segment in range(1, end.segment + 1)],
            "totals": totals.to_json(),
            "image": _save_image(folder, index) if index.is_changed else image,
        }
        text = json.dumps(facts).encode()
        write_whole(folder / FACTS, _digest(text) + b"\n" + text)


def load(folder: Path, segments: Sequence[int], *, index_path: Path | None) -> Snapshot | None:
    """The snapshot, if there is one that fits; its index is a copy of its own, at `index_path` (unlinked) or, where
    that is None, in the system's temporary place."""
    try:
        digest, _, text = (folder / FACTS).read_bytes().partition(b"\n")
        if digest != _digest(text):
            return None
        facts = json.loads(text)
        if facts["format"] != FORMAT or facts["tunemill"] != tunemill.__version__:
            return None
        end = Location(*facts["end"])
        if not _covers(folder, segments, end, facts):
            return None
        index = _load_image(folder, facts["image"], index_path)
        if index is None:
            return None
        return Snapshot(end=end, totals=Totals.of_json(facts["totals"]), index=index, image=facts["image"])
    except (OSError, ValueError):
        return None


def _covers(folder: Path, segments: Sequence[int], end: Location, facts: dict[str, Any]) -> bool:
    """Whether the journal is still what the snapshot was made of, up to its end."""
    recorded: list[list[int]] = facts["segments"]
    if list(segments[: end.segment]) != list(range(1, end.segment + 1)):
        return False
    for segment, (size, changed_at) in enumerate(recorded, 1):
        now = _size_and_time(folder, segment)
        has_grown = segment == end.segment and now[0] > size
        if now != [size, changed_at] and not has_grown:
            return False
    return bool(_digest_of_line(folder, end) == facts["last_line"])


def _size_and_time(folder: Path, segment: int) -> list[int]:
    status = segment_path(folder, segment).stat()
    return [status.st_size, status.st_mtime_ns]


def _digest_of_line(folder: Path, location: Location) -> str:
    with segment_path(folder, location.segment).open("rb") as handle:
        handle.seek(location.offset)
        return _digest(handle.read(location.length)).decode()


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest().encode()


# -- the image of the index ------------------------------------------------------------------------------------------


def _save_image(folder: Path, index: Index) -> str:
    """Write the image, whole or not at all, and give its digest. Only the holder of the lock comes here."""
    new = folder / f"{IMAGE}.new"
    new.unlink(missing_ok=True)
    try:
        index.save(new)
        with new.open("rb") as handle:
            digest = _copied(handle, None)
            os.fsync(handle.fileno())
        new.replace(folder / IMAGE)
    finally:
        new.unlink(missing_ok=True)
    return digest


def _load_image(folder: Path, digest: str, index_path: Path | None) -> Index | None:
    with (folder / IMAGE).open("rb") as image, _opened(index_path) as copy:
        path = Path(copy.name)
        try:
            if _copied(image, copy) == digest:
                copy.flush()
                return Index(path, is_image=True)
        finally:
            path.unlink(missing_ok=True)
    return None


def _opened(path: Path | None) -> IO[bytes]:
    return tempfile.NamedTemporaryFile(delete=False) if path is None else path.open("wb")


def _copied(source: IO[bytes], target: IO[bytes] | None) -> str:
    """Read to the end, in pieces; the digest of what was read."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    while piece := source.read(_PIECE_BYTES):
        digest.update(piece)
        if target is not None:
            target.write(piece)
    return digest.hexdigest()
