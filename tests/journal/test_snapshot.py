"""The snapshot beside the journal: what it saves, when it is believed, and that nothing depends on it."""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.journal.journal_support import (
    COST,
    WORST,
    completed,
    failed,
    life,
    names_in,
    request_id,
    row,
    row_id,
    sent,
)
from tests.support.clock import ManualClock

from tunemill.errors import RunFolderError
from tunemill.journal import (
    Ended,
    Index,
    Journal,
    Line,
    Location,
    Opened,
    RequestState,
    SourceEnded,
    key_of,
    open_for_reading,
    open_for_writing,
)
from tunemill.journal import snapshot as snapshots
from tunemill.journal.keeper import SnapshotKeeper
from tunemill.journal.segments import segment_path

ROWS = 20
OPENED = Opened(at=1.0, run="r", version="0", rows=ROWS, places=1, simulated=False)
ENDED = Ended(at=2.0, state="finished", reason="everything is answered")
LINES: Sequence[Line] = (
    OPENED,
    *(line for number in range(ROWS - 1) for line in life(number)),
    row(ROWS - 1),
    failed(ROWS - 1, 0),
    SourceEnded(rows=ROWS),
    ENDED,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


async def a_process(
    folder: Path, lines: Sequence[Line], *, forgotten: int = 0, segment_bytes_max: int = 3000, killed: bool = False
) -> None:
    """One process's life on a journal; the outcome of the last `forgotten` lines is never taken into account."""
    journal, writer, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    writer._segment_bytes_max = segment_bytes_max
    written = [*closing, *lines]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for line in written[: len(written) - forgotten]:
            journal.add(line, writer.append(line))
        for line in written[len(written) - forgotten :]:
            writer.append(line)
        writer.close()
    if killed:
        journal.close()
    else:
        journal.close_after(writer)


def spoil(folder: Path, number: int) -> None:
    """Change a byte of a segment's first line without a trace in its size or time: whoever replays it, says so."""
    path = segment_path(folder, number)
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def everything(journal: Journal) -> object:
    """What a journal knows of LINES and what was added to them."""
    index = journal.index
    rows = [index.row_at(position) for position in range(index.positions())]
    requests = [index.request(request_id(number)) for number in range(ROWS + 5)]
    slots = [index.slot_request(row_id(number), "plot", 0) for number in range(ROWS + 5)]
    counts = [index.slots_in(state) for state in RequestState]
    failures = list(index.positions_with(RequestState.FAILED))
    return vars(journal.totals), rows, requests, slots, counts, failures, journal.end


def last_segment(folder: Path) -> Path:
    return max(folder.glob("0*.jsonl"))


def image_of(folder: Path) -> Path:
    """The snapshot's second file."""
    (image,) = (folder / name for name in snapshots.IMAGES if (folder / name).exists())
    return image


def make_unwritable(folder: Path) -> None:
    """A folder stands where the snapshot would be."""
    (folder / snapshots.FACTS).mkdir(parents=True)


def is_replayed(folder: Path) -> bool:
    """Whether opening reads the lines from the beginning."""
    spoil(folder, 1)
    try:
        open_for_reading(folder).close()
    except RunFolderError:
        return True
    return False


async def test_a_snapshot_says_what_a_replay_says(folder: Path) -> None:
    """Totals, index and end, with and without it, and again after a second process added to it."""
    await a_process(folder, LINES)
    for lines in ([], [OPENED, *life(ROWS), SourceEnded(rows=ROWS + 1), ENDED]):
        if lines:
            await a_process(folder, lines)
        with_it = open_for_reading(folder)
        known = everything(with_it)
        with_it.close()
        image = image_of(folder).name
        for name in (snapshots.FACTS, image):
            (folder / name).rename(folder / f"{name}.aside")
        without = open_for_reading(folder)
        assert everything(without) == known
        without.close()
        for name in (snapshots.FACTS, image):
            (folder / f"{name}.aside").rename(folder / name)
    assert not is_replayed(folder)


async def test_only_what_comes_after_is_replayed(folder: Path) -> None:
    """A process that was killed later: its lines are read, those behind the snapshot are not."""
    await a_process(folder, LINES)
    await a_process(folder, [OPENED, row(ROWS), sent(ROWS)], killed=True)
    spoil(folder, 1)
    journal, _, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    assert [line.request for line in closing] == [request_id(ROWS)]
    assert journal.totals.settled == COST * (ROWS - 1)
    assert journal.index.slots_in(RequestState.COMPLETED) == ROWS - 1
    assert journal.index.row_at(ROWS) is not None
    journal.close()


async def test_a_line_behind_a_snapshot_is_checked_when_it_is_read(folder: Path) -> None:
    """This is what it trades: damage is found when the line is wanted, and is named then."""
    await a_process(folder, LINES, segment_bytes_max=1 << 30)
    path = segment_path(folder, 1)
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"req_7", b"req_8"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    journal = open_for_reading(folder)
    known = journal.index.request(request_id(7))
    assert known is not None
    with pytest.raises(RunFolderError, match="checksum") as caught:
        journal.reader.read(known.outcome)
    journal.close()
    lines = path.read_bytes().splitlines()
    assert caught.value.line == next(at for at, line in enumerate(lines, 1) if b"req_8" in line)


# -- when there is none ----------------------------------------------------------------------------------------------


async def test_a_killed_process_leaves_none(folder: Path) -> None:
    """Unless one was taken before."""
    await a_process(folder, [OPENED, *life(0)], killed=True)
    assert names_in(folder) == ["000001.jsonl"]


async def test_what_is_open_stays_open(folder: Path) -> None:
    """An attempt without an outcome is in the snapshot, and is closed by the next process."""
    await a_process(folder, [OPENED, row(0), sent(0), row(1), sent(1), sent(1, 2)])
    spoil(folder, 1)
    journal, _, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    assert [(line.request, line.attempt) for line in closing] == [(request_id(0), 1), (request_id(1), 2)]
    assert (journal.totals.uncertain, journal.totals.reserved) == (WORST, 2 * WORST)
    journal.close()


async def test_a_line_that_is_on_disk_and_not_taken_into_account_is_replayed(folder: Path) -> None:
    """A task was cancelled between the two, with others after it: the next opening takes it from the journal."""
    lines: list[Line] = [OPENED, row(0), sent(0), row(1), sent(1), completed(1), ENDED]
    for segment_bytes_max in (1 << 30, 400):
        await a_process(folder, lines, forgotten=4, segment_bytes_max=segment_bytes_max)
        journal, _, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
        assert [line.request for line in closing] == [request_id(0)]
        known = everything(journal)
        journal.close()
        snapshots.remove(folder)
        journal = open_for_reading(folder)
        assert everything(journal) == known
        journal.close()
        shutil.rmtree(folder)


async def test_a_line_that_was_not_taken_into_account_and_is_damaged_is_named(folder: Path) -> None:
    """It is not behind the snapshot, whatever comes after it."""
    await a_process(folder, [OPENED, row(0), sent(0), ENDED], forgotten=2, segment_bytes_max=1 << 30)
    path = segment_path(folder, 1)
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"reserved", b"Reserved"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(RunFolderError, match="checksum") as caught:
        open_for_reading(folder)
    assert caught.value.line == 3


async def test_where_it_cannot_be_written_there_is_none(folder: Path) -> None:
    """Nothing depends on it, so nobody is told."""
    make_unwritable(folder)
    await a_process(folder, LINES)
    assert is_replayed(folder)


# -- when it is not believed -----------------------------------------------------------------------------------------


def _cut_last_line(folder: Path) -> None:
    path = last_segment(folder)
    os.truncate(path, path.stat().st_size - 1)


def _delete_a_line(folder: Path) -> None:
    path = segment_path(folder, 2)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def _touch_an_early_segment(folder: Path) -> None:
    os.utime(segment_path(folder, 2))


def _touch_the_last_segment(folder: Path) -> None:
    os.utime(last_segment(folder))


def _flip(name: str, at: int) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])

    return flip


def _cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _of_another_version(folder: Path) -> None:
    _, _, text = (folder / snapshots.FACTS).read_bytes().partition(b"\n")
    text = text.replace(b'"tunemill": "', b'"tunemill": "9')
    (folder / snapshots.FACTS).write_bytes(snapshots._digest(text) + b"\n" + text)


DOUBTS: dict[str, Callable[[Path], None]] = {
    "the last line is cut": _cut_last_line,
    "a line was deleted": _delete_a_line,
    "an early segment was touched": _touch_an_early_segment,
    "the last segment was touched": _touch_the_last_segment,
    "a byte of the facts": _flip(snapshots.FACTS, 100),
    "a byte of the digest": _flip(snapshots.FACTS, 3),
    "empty facts": _cut(snapshots.FACTS, 0),
    "a byte of the image": _flip(snapshots.IMAGES[0], 5000),
    "a short image": _cut(snapshots.IMAGES[0], 4096),
    "no image": _remove(snapshots.IMAGES[0]),
    "another version": _of_another_version,
}


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=DOUBTS.keys())
async def test_in_doubt_everything_is_replayed(folder: Path, doubt: Callable[[Path], None]) -> None:
    """Whatever was done to the journal or to the snapshot, the lines are what is believed."""
    await a_process(folder, LINES)
    assert last_segment(folder).name > "000002.jsonl"
    doubt(folder)
    assert is_replayed(folder)


async def test_a_last_line_that_was_exchanged_is_seen(folder: Path) -> None:
    """Where the last segment has grown since, its time says nothing; the line at the snapshot's end does."""
    await a_process(folder, LINES)
    path = last_segment(folder)
    before = path.read_bytes()
    await a_process(folder, [OPENED, row(ROWS)], segment_bytes_max=1 << 30)
    grown = path.read_bytes()[len(before) :]
    lines = before.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-2], lines[-1], lines[-2]]) + grown)
    assert is_replayed(folder)


async def test_a_snapshot_that_does_not_fit_is_made_anew(folder: Path) -> None:
    """By the next process that ends on purpose."""
    await a_process(folder, LINES)
    _touch_an_early_segment(folder)
    await a_process(folder, [OPENED, ENDED])
    assert not is_replayed(folder)


async def test_readers_leave_it_as_it_is(folder: Path) -> None:
    """Reading and writing both work on copies."""
    await a_process(folder, LINES)
    before = {name: (folder / name).read_bytes() for name in names_in(folder)}
    open_for_reading(folder).close()
    journal, _, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    journal.index.put_row(3, row_id(99), journal.end)
    assert journal.index.slots_in(RequestState.COMPLETED) == ROWS - 2
    journal.close()
    assert {name: (folder / name).read_bytes() for name in names_in(folder)} == before


async def test_an_index_that_did_not_change_is_not_written_again(folder: Path) -> None:
    """A finished run that is started again only says so in its journal."""
    await a_process(folder, LINES)
    inode = image_of(folder).stat().st_ino
    await a_process(folder, [OPENED, ENDED])
    assert image_of(folder).stat().st_ino == inode
    assert not is_replayed(folder)


async def test_slots_have_the_same_keys_in_every_process(folder: Path) -> None:
    """They do not depend on the seed of Python's own hash."""
    await a_process(folder, LINES)
    journal = open_for_reading(folder)
    assert journal.index.slot(row_id(3), "plot", 0) == (key_of(request_id(3)), "")
    assert journal.index.slot(row_id(3), "plot", 1) is None
    journal.close()
    from tunemill.journal.known import slot_key

    assert slot_key(key_of("0123456789abcdef" * 2), "plot", 7) == -8323511736057575077


async def test_what_waits_is_written_before_the_moment_of_a_snapshot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turns of their own: at that moment only what came meanwhile is left, and it is in the snapshot as well."""
    left: list[tuple[int, int]] = []
    freeze = Index.freeze

    def look_and_freeze(self: Index) -> None:
        left.append((self._puts, self.positions()))
        freeze(self)

    monkeypatch.setattr(Index, "freeze", look_and_freeze)
    journal, writer, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    writing = asyncio.create_task(writer.run())
    for number in range(ROWS):
        journal.add(row(number), writer.append(row(number)))
    asyncio.get_running_loop().call_soon(lambda: journal.add(row(ROWS), writer.append(row(ROWS))))
    await SnapshotKeeper(journal, writer).take()
    assert left == [(1, ROWS + 1)]
    writer.close()
    await writing
    journal.close()
    opened = open_for_reading(folder)
    assert opened.index.positions() == ROWS + 1
    opened.close()
    assert not is_replayed(folder)


def test_a_copy_that_has_not_begun_is_given_up_where_the_tables_are_needed(tmp_path: Path) -> None:
    """Who needs them may be the thread that would have let it begin. The next copy holds everything."""
    index = Index(tmp_path / ".index")
    index.put_row(0, row_id(0), Location(1, 0, 10))
    index.freeze()
    index.put_row(1, row_id(1), Location(1, 10, 10))
    assert index.slots_in(RequestState.COMPLETED) == 0
    with pytest.raises(OSError, match="needed the tables"):
        index.copy_to(tmp_path / "copy")
    assert index.is_changed
    index.freeze()
    index.copy_to(tmp_path / "copy")
    assert not index.is_changed
    index.close()
    copied = Index(tmp_path / "copy", is_image=True)
    assert copied.positions() == 2
    copied.close()
