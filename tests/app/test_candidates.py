"""What may become examples is the same however much of the journal is read at once, and damage is named."""

import contextlib
from pathlib import Path

import pytest
from tests.app.app_support import candidates
from tests.journal.journal_support import completed, life, row, row_id, sent, write

from tunemill.app import candidates as module
from tunemill.engine import Step
from tunemill.errors import RunFolderError
from tunemill.journal import Line, open_for_reading
from tunemill.model import Lane

STEPS = [Step(name="plot", samples=1, lane=Lane("", "m"))]
ANSWERED = 40
LINES: list[Line] = [
    line
    for number in range(ANSWERED)
    for line in (
        row(number, {"n": str(number)}),
        sent(number),
        completed(number, answer=b'{"choices":[{"message":{"content":"text %d"},"finish_reason":"stop"}]}' % number),
    )
]


def _found(folder: Path) -> list[tuple[int, str, str]]:
    """Position, row and text of each candidate."""
    with contextlib.closing(open_for_reading(folder)) as journal:
        return [(each.position, each.row.id, each.last.text) for each in candidates(journal, STEPS)]


@pytest.mark.parametrize(("asked", "slots", "size"), [(512, 256, 8 << 20), (512, 256, 1), (7, 3, 3000), (1, 1, 1)])
async def test_candidates_do_not_depend_on_how_many_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, slots: int, size: int
) -> None:
    """Every row with its own answer, in the order of the source; one that is not answered is none."""
    monkeypatch.setattr(module, "_SLOTS_AT_ONCE", asked)
    monkeypatch.setattr(module, "_SLOTS_TOGETHER", slots)
    monkeypatch.setattr(module, "_BYTES_TOGETHER", size)
    await write(tmp_path, [*LINES, row(ANSWERED), sent(ANSWERED), *life(ANSWERED + 1)])
    expected = [(number, row_id(number), f"text {number}") for number in range(ANSWERED)]
    assert _found(tmp_path) == [*expected, (ANSWERED + 1, row_id(ANSWERED + 1), "")]


@pytest.mark.parametrize("kind", [b'{"kind":"row"', b'{"kind":"completed"'])
async def test_a_line_that_breaks_behind_our_back_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    """A bit that turns after the journal was opened: file and line, and none of the portions before it is lost."""
    monkeypatch.setattr(module, "_SLOTS_TOGETHER", 1)
    await write(tmp_path, LINES)
    path = tmp_path / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = [at for at, line in enumerate(lines) if line.startswith(kind)][ANSWERED // 2]
    with contextlib.closing(open_for_reading(tmp_path)) as journal:
        broken = bytearray(lines[number])
        broken[len(broken) // 2] ^= 1
        path.write_bytes(b"".join([*lines[:number], broken, *lines[number + 1 :]]))
        whole = candidates(journal, STEPS)
        assert [next(whole).position for _ in range(ANSWERED // 2)] == list(range(ANSWERED // 2))
        with pytest.raises(RunFolderError) as raised:
            next(whole)
    assert (raised.value.file, raised.value.line) == (str(path), number + 1)
