"""Compresses the finished segments of a journal. The one that is written to stays as it is.

A crash at any moment loses nothing: the compressed file appears whole, is read back and compared, and only then the old
one goes. Where both are there, the old one counts and the work is done again.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunemill.errors import RunFolderError
from tunemill.files import replacing, sync_folder
from tunemill.journal import snapshot
from tunemill.journal.codec import DamagedLine, decode
from tunemill.journal.compressed import compress, text_of
from tunemill.journal.segments import compressed_path, damage, segment_path, segments_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedFile:
    """One segment's sizes in bytes, before and after."""

    name: str
    before: int
    after: int


def compress_finished(folder: Path) -> Sequence[CompressedFile]:
    """Compress what is finished and is not compressed yet. The caller holds the run folder's lock.

    Raises RunFolderError for damage, which is not compressed, and RunFolderUnwritable.
    """
    segments = segments_of(folder)
    facts = _facts_that_fit(folder, segments)
    done = [_compress(folder, segment) for segment in segments[:-1] if segment_path(folder, segment).exists()]
    if facts is not None and done:
        for segment, recorded in enumerate(facts["segments"][: len(segments) - 1], 1):
            recorded[:] = snapshot.size_and_time(folder, segment)
        snapshot.write_facts(folder, facts)
    return done


def _facts_that_fit(folder: Path, segments: Sequence[int]) -> dict[str, list[list[int]]] | None:
    with contextlib.suppress(OSError, ValueError):
        facts = snapshot.read_facts(folder)
        if facts is not None and snapshot.covers(folder, segments, facts):
            return facts
    return None


def _compress(folder: Path, segment: int) -> CompressedFile:
    path, target = segment_path(folder, segment), compressed_path(folder, segment)
    with path.open("rb") as source, replacing(target) as handle:
        compress(source, handle)
    _compare(path, target)
    sizes = CompressedFile(name=target.name, before=path.stat().st_size, after=target.stat().st_size)
    path.unlink()
    sync_folder(folder)
    return sizes


def _compare(path: Path, target: Path) -> None:
    """Each line is what it was, and checks. Removes the new file where one does not."""
    try:
        with path.open("rb") as lines:
            for number, (line, again) in enumerate(zip(lines, text_of(target), strict=True), 1):
                try:
                    decode(line)
                except DamagedLine as error:
                    raise damage(path, number, str(error)) from error
                assert line == again, "compressed and read back, a line is another"
    except (RunFolderError, ValueError, AssertionError):
        target.unlink(missing_ok=True)
        raise
