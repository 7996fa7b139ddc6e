"""How far a run had come is noted in its journal, and is believed only where every line before it is there."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journal.journal_support import completed, row, sent
from tests.support.clock import ManualClock

from tunemill.journal import (
    Ended,
    Line,
    Mark,
    Marked,
    Opened,
    SnapshotKeeper,
    glance,
    journal,
    open_for_reading,
    open_for_writing,
)
from tunemill.journal.codec import decode, encode
from tunemill.journal.lines import Repaired
from tunemill.journal.repair import repair
from tunemill.journal.segments import scan, segment_path

OPENED = Opened(at=1.0, run="r", version="0", rows=9, places=1, simulated=False, inputs="these")
ENDED = Ended(at=9.0, state="finished", reason="")
LIVES: list[Line] = [OPENED, *(line(number) for number in range(3) for line in (row, sent, completed))]
MARKED = Marked(inputs="these", walk={"walked": 3}, lines=len(LIVES))
MARK = Mark(inputs="these", walk={"walked": 3})


def mark_in(folder: Path, lines: Sequence[Line]) -> Mark | None:
    """The mark of a journal of just these lines."""
    folder.mkdir(exist_ok=True)
    segment_path(folder, 1).write_bytes(b"".join(map(encode, lines)))
    opened = open_for_reading(folder)
    opened.close()
    assert glance(folder, bytes_max=1 << 20).mark == opened.mark
    return opened.mark


def test_a_mark_is_known_without_a_snapshot(tmp_path: Path) -> None:
    """Until a process begins that has other inputs; what has the same ones, and what is added, leaves it."""
    more: list[Line] = [row(4), sent(4), completed(4), OPENED]
    assert mark_in(tmp_path / "journal", [*LIVES, MARKED]) == MARK
    assert mark_in(tmp_path / "journal", [*LIVES, MARKED, *more, ENDED]) == MARK
    assert mark_in(tmp_path / "journal", [*LIVES, MARKED, replace(OPENED, inputs="others")]) is None
    assert mark_in(tmp_path / "journal", [*LIVES, MARKED, replace(OPENED, inputs=""), OPENED]) is None


@pytest.mark.parametrize("gone", range(1, len(LIVES)))
def test_a_mark_behind_a_line_that_is_gone_is_void(tmp_path: Path, gone: int) -> None:
    """Whoever took out a line wants its row to be looked at again, and so it is."""
    assert mark_in(tmp_path / "journal", [*LIVES[:gone], *LIVES[gone + 1 :], MARKED]) is None


def test_no_mark_holds_behind_a_repair(tmp_path: Path) -> None:
    """Neither where the line says so, nor where a damaged one was set aside."""
    said = Repaired(at=1.0, uncertain=0, pieces=[])
    folder = tmp_path / "journal"
    assert mark_in(folder, [*LIVES, MARKED, said]) is None
    assert mark_in(folder, [*LIVES, MARKED]) == MARK
    text = segment_path(folder, 1).read_bytes()
    segment_path(folder, 1).write_bytes(text.replace(b'"kind":"completed"', b'"kind":"comp1eted"', 1))
    repair(folder, tmp_path / "aside", at=2.0)
    opened = open_for_reading(folder)
    opened.close()
    assert opened.mark is None
    assert opened.totals.answers == 2


async def test_a_running_process_notes_how_far_it_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so many lines, with the number of lines before, counted yet or not; and never behind its last word."""
    monkeypatch.setattr(journal, "LINES_MARKED_MIN", 5)
    monkeypatch.setattr(journal, "_MARK_BYTES_A_LINE", 1000)
    folder = tmp_path / "journal"
    opened, writer, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    opened.mark_now = lambda: Mark(inputs="these", walk={"answers": opened.totals.answers})
    keeper = SnapshotKeeper(opened, writer)
    writing, keeping = asyncio.create_task(writer.run()), asyncio.create_task(keeper.run())
    for line in (OPENED, *(line(number) for number in range(8) for line in (row, sent))):
        opened.add(line, writer.append(line))
    late = [(answer, writer.append(answer)) for answer in map(completed, range(8))]
    for answer, location in late:
        opened.add(answer, location)
    while opened._last.lines < opened._marked_at - 1:  # so that the next one would make it due
        opened.add(row(0), writer.append(row(0)))
    opened.add(ENDED, writer.append(ENDED))
    keeper.close()
    await keeping
    writer.close()
    await writing
    opened.close()
    lines = [decode(text) for _, text in scan(folder, [1])]
    marks = [(number, line) for number, line in enumerate(lines) if isinstance(line, Marked)]
    assert len(marks) > 4
    assert all(line.lines == number for number, line in marks)
    assert isinstance(lines[-1], Ended)
    assert mark_in(folder, lines) == Mark(inputs="these", walk=marks[-1][1].walk)
    assert any(0 < line.walk["answers"] < 8 for _, line in marks)  # some were not counted yet
