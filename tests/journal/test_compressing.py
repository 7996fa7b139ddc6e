"""Compressed segments: read as before, by line and from the beginning, and made so that a crash loses nothing."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.journal.journal_support import names_in, write
from tests.journal.test_snapshot import LINES, a_process, everything, spoil

from tunemill.errors import RunFolderError
from tunemill.journal import RequestState, open_for_reading
from tunemill.journal import compressed as frames
from tunemill.journal.compressing import compress_finished
from tunemill.journal.repair import inspect, repair
from tunemill.journal.segments import compressed_path, scan, segment_path, segments_of


@pytest.fixture(params=[frames.FRAME_BYTES, 500], ids=["one frame", "many frames"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a journal goes; its frames are as they are, or of a few lines."""
    monkeypatch.setattr(frames, "FRAME_BYTES", request.param)
    return tmp_path / "journal"


def texts(folder: Path) -> list[object]:
    """Every line with its place, and once more by its place."""
    found = list(scan(folder, segments_of(folder)))
    with_places = open_for_reading(folder)
    for location, text in found:
        assert with_places.reader.read_text(location) == text
    with_places.close()
    return list(found)


async def test_what_is_compressed_is_read_as_before(folder: Path) -> None:
    """Lines, places, totals and index; only the segment that is written to stays as it was."""
    await write(folder, LINES, segment_bytes_max=3000)
    plain, before = texts(folder), open_for_reading(folder)
    known = everything(before)
    before.close()
    many = len(segments_of(folder))
    done = compress_finished(folder)
    assert [file.name for file in done] == [f"{number:06d}.jsonl.zst" for number in range(1, many)]
    assert all(file.after < file.before for file in done)
    assert names_in(folder) == [*(file.name for file in done), f"{many:06d}.jsonl"]
    assert texts(folder) == plain
    after = open_for_reading(folder)
    assert everything(after) == known
    after.close()
    assert compress_finished(folder) == []


async def test_a_run_goes_on_behind_compressed_segments(folder: Path) -> None:
    """Its snapshot stays what it was: nothing is replayed."""
    await a_process(folder, LINES)
    known = open_for_reading(folder)
    before = everything(known)
    known.close()
    compress_finished(folder)
    again = open_for_reading(folder)
    assert everything(again) == before
    again.close()
    damaged = bytearray(compressed_path(folder, 1).read_bytes())
    status = compressed_path(folder, 1).stat()
    damaged[len(damaged) // 2] ^= 1
    compressed_path(folder, 1).write_bytes(damaged)
    os.utime(compressed_path(folder, 1), ns=(status.st_atime_ns, status.st_mtime_ns))
    open_for_reading(folder).close()  # it would be seen if it were read


def test_other_programs_read_it(folder: Path) -> None:
    """zstdcat shows the lines."""
    program = shutil.which("zstdcat")
    if program is None:
        pytest.skip("zstdcat is not installed")
    asyncio.run(write(folder, LINES, segment_bytes_max=3000))
    plain = segment_path(folder, 1).read_bytes()
    compress_finished(folder)
    assert subprocess.check_output([program, compressed_path(folder, 1)]) == plain


def _half_written(folder: Path) -> None:
    compressed_path(folder, 1).write_bytes(b"half")


def _temporary(folder: Path) -> None:
    (folder / ".000001.jsonl.zst.abc").write_bytes(b"half")


@pytest.mark.parametrize("left", [_half_written, _temporary], ids=["both are there", "a temporary file"])
async def test_a_crash_while_compressing_loses_nothing(folder: Path, left: Callable[[Path], None]) -> None:
    """Where a segment is there as text, too, that one counts; and the work is done again."""
    await write(folder, LINES, segment_bytes_max=3000)
    plain = texts(folder)
    left(folder)
    assert texts(folder) == plain
    compress_finished(folder)
    assert texts(folder) == plain
    assert not segment_path(folder, 1).exists()


async def test_damage_is_not_compressed(folder: Path) -> None:
    """It is named, and the text stays."""
    await write(folder, LINES, segment_bytes_max=3000)
    spoil(folder, 2)
    with pytest.raises(RunFolderError, match="damaged"):
        compress_finished(folder)
    assert segment_path(folder, 2).exists()
    assert not compressed_path(folder, 2).exists()


def _scanned(folder: Path) -> object:
    """Every line, or the file that is said to be damaged."""
    try:
        return list(scan(folder, segments_of(folder)))
    except RunFolderError as error:
        return error.file


async def test_a_changed_byte_of_a_compressed_segment_is_never_believed(folder: Path) -> None:
    """Every seventh one: it is named, or it changes nothing (a few bits of a header mean nothing)."""
    await write(folder, LINES, segment_bytes_max=3000)
    compress_finished(folder)
    plain = texts(folder)
    path = compressed_path(folder, 1)
    content = path.read_bytes()
    named = 0
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        found = _scanned(folder)
        named += found == str(path)
        assert found in (plain, str(path))
    assert named > len(content) // 10
    for size in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(RunFolderError, match="compressed"):
            open_for_reading(folder)


async def test_repair_reads_behind_compressed_segments(folder: Path, tmp_path: Path) -> None:
    """Damage in the last segment is set aside; the compressed ones stay."""
    await write(folder, LINES, segment_bytes_max=3000)
    compress_finished(folder)
    spoil(folder, segments_of(folder)[-1])
    assert len(inspect(folder).damaged) == 1
    repair(folder, tmp_path / "damaged.jsonl", at=10.0)
    journal = open_for_reading(folder)
    assert journal.index.slots_in(RequestState.COMPLETED) > 0
    journal.close()
    assert compressed_path(folder, 1).exists()
