"""Many lines that are read at once are the lines that stand there, whatever the order and wherever they are."""

import contextlib
import random
from pathlib import Path

import pytest
from tests.journal.journal_support import completed, row, sent, write

from tunemill.journal import bulk
from tunemill.journal.bulk import read_lines
from tunemill.journal.compressed import compress
from tunemill.journal.known import place_key
from tunemill.journal.segments import LineReader, compressed_path, scan, segment_path, segments_of

ROWS = 300


async def _written(folder: Path) -> dict[int, bytes]:
    """Every line of a journal of several segments, by packed place; some of them are large."""
    lines = [
        line
        for number in range(ROWS)
        for line in (row(number), sent(number), completed(number, answer=b'"%b"' % (b"x" * (number % 50) ** 3)))
    ]
    await write(folder, lines, segment_bytes_max=1024 * 1024)
    assert len(segments_of(folder)) > 2
    return {place_key(at): text for at, text in scan(folder, segments_of(folder))}


@pytest.mark.parametrize("compressed", [0, 2], ids=["all as text", "the first two compressed"])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize(("gap", "piece"), [(bulk.GAP_BYTES_MAX, bulk.PIECE_BYTES_MAX), (0, 1), (10**9, 10**6)])
async def test_lines_that_are_read_at_once_are_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: int, share: float, gap: int, piece: int
) -> None:
    """Some of the lines, asked for in any order: each comes with its own bytes, and no other does."""
    monkeypatch.setattr(bulk, "GAP_BYTES_MAX", gap)
    monkeypatch.setattr(bulk, "PIECE_BYTES_MAX", piece)
    expected = await _written(tmp_path)
    for segment in range(1, compressed + 1):
        path = segment_path(tmp_path, segment)
        with path.open("rb") as source, compressed_path(tmp_path, segment).open("wb") as target:
            compress(source, target)
        path.unlink()
    chance = random.Random(7)
    some = {place: text for place, text in expected.items() if chance.random() < share}
    places = [(place, len(text)) for place, text in some.items()]
    chance.shuffle(places)
    with contextlib.closing(LineReader(tmp_path)) as reader:
        assert read_lines(reader, places) == some


def test_nothing_asked_for_is_nothing_read(tmp_path: Path) -> None:
    """No place, no line; the folder need not even be there."""
    assert read_lines(LineReader(tmp_path / "nowhere"), []) == {}
