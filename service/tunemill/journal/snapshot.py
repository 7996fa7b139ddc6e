"""The index and the totals as they were at one line of the journal, so that opening need not replay what is before it.

A cache: made of the journal, never changed once it is in place (whoever opens it works on a copy), and ignored whenever
there is any doubt. It is believed only if this version wrote it, if its two files are whole, if the segments that it
covers have the sizes and times of change that they had then (the last one may have grown since), and if the last line
that it covers stands where it stood. Then only what comes after is replayed.

It is taken while a run goes on, too (see `keeper`), at a moment when some lines are in the journal that nobody has
taken into account yet: a line counts when it is durable, and later ones may count before it. Those are listed
(`uncounted`), and are replayed with what comes after. The image has two names in turn, so that a process that is killed
while it writes one leaves the other.

What it trades: a line behind a snapshot is checked when it is read, and no more at every opening. What a broken disk
changes there without a trace in a file's size or time is found when the line is wanted; the totals do not depend on it.
"""

import contextlib
import json
import sqlite3
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import tunemill
from tunemill.errors import RunFolderUnwritable
from tunemill.files import write_whole
from tunemill.journal.index import FORMAT, Index, checksum_of
from tunemill.journal.mark import Mark
from tunemill.journal.segments import LineReader, Location, file_of
from tunemill.journal.totals import Totals

FACTS = ".index.json"
IMAGES = (".index.a.sqlite", ".index.b.sqlite")
_PIECE_BYTES = 1024 * 1024
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A copy of the index: a file's name and its checksum."""

    name: str
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What `lines` lines came to, up to and including the one at `end`, without those at `uncounted`."""

    end: Location
    uncounted: Sequence[Location]
    lines: int
    totals: Totals
    index: Index
    image: Image
    mark: Mark | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A snapshot that is to be written: all of it as it was at one moment. The index is frozen, unless `image` is
    given, which then is still the one on disk."""

    folder: Path
    end: Location
    uncounted: Sequence[Location]
    lines: int
    totals: Totals
    index: Index
    image: Image | None
    before: Image | None
    mark: Mark | None

    def write(self) -> Image | None:
        """Write it, in any thread, when the journal is durable up to `end`; None where the files cannot be written:
        then there is no snapshot, and nothing depends on it."""
        try:
            image = self.image or self._copied_index()
            write_facts(self.folder, self._facts(image))
        except (OSError, sqlite3.Error, RunFolderUnwritable):
            self.index.spoiled()
            return None
        if self.before is not None and self.before.name != image.name:
            with contextlib.suppress(OSError):
                (self.folder / self.before.name).unlink(missing_ok=True)
        return image

    def _copied_index(self) -> Image:
        name = IMAGES[self.before is not None and self.before.name == IMAGES[0]]
        path = self.folder / name
        try:
            return Image(name=name, checksum=self.index.copy_to(path))
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    def _facts(self, image: Image) -> dict[str, Any]:
        end = self.end
        return {
            "format": FORMAT,
            "tunemill": tunemill.__version__,
            "end": _listed(end),
            "uncounted": [_listed(at) for at in self.uncounted],
            "lines": self.lines,
            "last_line": _digest_of_line(self.folder, end),
            "segments": [size_and_time(self.folder, segment, end) for segment in range(1, end.segment + 1)],
            "totals": self.totals.to_json(),
            "image": [image.name, image.checksum],
            "mark": None if self.mark is None else [self.mark.inputs, self.mark.walk],
        }


def load(folder: Path, segments: Sequence[int], *, index_path: Path | None) -> Snapshot | None:
    """The snapshot, if there is one that fits; its index is a copy of its own, at `index_path` (unlinked) or, where
    that is None, in the system's temporary place."""
    try:
        facts = read_facts(folder)
        if facts is None or not covers(folder, segments, facts):
            return None
        name, checksum = facts["image"]
        image = Image(name=name, checksum=checksum)
        index = _load_image(folder, image, index_path)
        if index is None:
            return None
        return Snapshot(
            end=Location(*facts["end"]),
            uncounted=[Location(*at) for at in facts["uncounted"]],
            lines=facts["lines"],
            totals=Totals.of_json(facts["totals"]),
            index=index,
            image=image,
            mark=mark_in(facts),
        )
    except (OSError, ValueError):
        return None


def last_mark(folder: Path) -> Mark | None:
    """The mark as it was written last: a look before anything is opened, which says nothing of the journal."""
    try:
        facts = read_facts(folder)
    except (OSError, ValueError):
        return None
    return None if facts is None else mark_in(facts)


def remove(folder: Path) -> None:
    """Forget the snapshot."""
    for name in (FACTS, *IMAGES):
        (folder / name).unlink(missing_ok=True)


# -- the facts -------------------------------------------------------------------------------------------------------


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What stands in the snapshot's first file, if it is whole and of this version. Raises OSError, ValueError."""
    digest, _, text = (folder / FACTS).read_bytes().partition(b"\n")
    if digest != _digest(text):
        return None
    facts: dict[str, Any] = json.loads(text)
    return facts if facts["format"] == FORMAT and facts["tunemill"] == tunemill.__version__ else None


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Put the first file in place, whole or not at all. Raises RunFolderUnwritable."""
    text = json.dumps(facts).encode()
    write_whole(folder / FACTS, _digest(text) + b"\n" + text)


def covers(folder: Path, segments: Sequence[int], facts: dict[str, Any]) -> bool:
    """Whether the journal is still what the snapshot was made of, up to its end."""
    end = Location(*facts["end"])
    recorded: list[list[int]] = facts["segments"]
    if list(segments[: end.segment]) != list(range(1, end.segment + 1)):
        return False
    for segment, (size, changed_at) in enumerate(recorded, 1):
        now = size_and_time(folder, segment)
        has_grown = segment == end.segment and now[0] > size
        if now != [size, changed_at] and not has_grown:
            return False
    return bool(_digest_of_line(folder, end) == facts["last_line"])


def mark_in(facts: dict[str, Any]) -> Mark | None:
    """The mark that these facts hold."""
    return None if facts["mark"] is None else Mark(inputs=facts["mark"][0], walk=facts["mark"][1])


def _listed(location: Location) -> list[int]:
    return [location.segment, location.offset, location.length]


def size_and_time(folder: Path, segment: int, end: Location | None = None) -> list[int]:
    """Of the segment, in which lines may stand already that come after `end`: its size is then up to there."""
    status = file_of(folder, segment).stat()
    if end is not None and segment == end.segment and status.st_size > end.end:
        return [end.end, -1]
    return [status.st_size, status.st_mtime_ns]


def _digest_of_line(folder: Path, location: Location) -> str:
    with contextlib.closing(LineReader(folder)) as reader:
        return _digest(reader.read_text(location)).decode()


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest().encode()


# -- the image of the index ------------------------------------------------------------------------------------------


def _load_image(folder: Path, image: Image, index_path: Path | None) -> Index | None:
    with (folder / image.name).open("rb") as source, _opened(index_path) as copy:
        path = Path(copy.name)
        try:
            if _copied(source, copy) == image.checksum:
                copy.flush()
                return Index(path, is_image=True)
        finally:
            path.unlink(missing_ok=True)
    return None


def _opened(path: Path | None) -> IO[bytes]:
    return tempfile.NamedTemporaryFile(delete=False) if path is None else path.open("wb")


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Read to the end, in pieces; the checksum of what was read."""
    checksum = size = 0
    while piece := source.read(_PIECE_BYTES):
        checksum = zlib.crc32(piece, checksum)
        size += len(piece)
        target.write(piece)
    return checksum_of(checksum, size)
