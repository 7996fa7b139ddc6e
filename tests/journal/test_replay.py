"""Opening a journal again: torn tails, damage, segments, what is known afterwards."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.journal.journal_support import (
    COST,
    WORST,
    append,
    attempt_failed,
    completed,
    failed,
    life,
    lines_of,
    names_in,
    request_id,
    row,
    row_id,
    sent,
    write,
    writer_after,
)
from tests.support.clock import ManualClock

from tunemill.errors import RunFolderError
from tunemill.journal import (
    Completed,
    Failed,
    Index,
    Journal,
    Line,
    RequestState,
    Reused,
    Sent,
    SourceEnded,
    Totals,
    key_of,
    open_for_reading,
    open_for_writing,
)
from tunemill.journal.segments import segment_path
from tunemill.model import FailureKind


def plain(line: Line) -> Line:
    """As it is read back: without its payload."""
    if isinstance(line, Sent):
        return replace(line, body=None)
    return replace(line, answer=None) if isinstance(line, Completed) else line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# -- torn tails ------------------------------------------------------------------------------------------------------


async def test_a_tail_torn_at_any_byte_leaves_what_was_whole(folder: Path, tmp_path: Path) -> None:
    """Cut the last segment anywhere: the lines before are there, nothing else is, and writing goes on after them."""
    lines = [*life(0), *life(1)]
    locations = await write(folder, lines, segment_bytes_max=700)
    ends = [location.end for location in locations if location.segment == 2]
    assert len(ends) == 3
    for cut in range(ends[-1] + 1):
        torn = tmp_path / "torn"
        shutil.copytree(folder, torn)
        os.truncate(segment_path(torn, 2), cut)
        whole = 3 + sum(end <= cut for end in ends)
        assert lines_of(torn) == [plain(line) for line in lines[:whole]]
        if cut % 31 and not {cut - 1, cut, cut + 1} & set(ends):
            shutil.rmtree(torn)
            continue  # read at every byte, written on at every thirty-first
        journal, writer, closing = open_for_writing(torn, clock=ManualClock(), emit=lambda committed: None)
        await append(writer, [*closing, row(99)])
        journal.close()
        assert lines_of(torn) == [*(plain(line) for line in lines[:whole]), *closing, row(99)]
        assert [line.request for line in closing] == ([] if whole % 3 != 2 else [request_id(whole // 3)])
        shutil.rmtree(torn)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 5000, b'{"kind":"sent","at":1\0\0\0\0', b"\0\0\0\n"])
async def test_a_tail_of_zeros_is_a_torn_tail(folder: Path, tail: bytes) -> None:
    """What a power failure leaves where a file had grown and its content had not reached the disk."""
    await write(folder, life(1))
    with segment_path(folder, 1).open("ab") as handle:
        handle.write(tail)
    journal, writer, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    await append(writer, life(2))
    journal.close()
    assert lines_of(folder) == [plain(line) for line in life(1) + life(2)]


@pytest.mark.parametrize("content", [b"", b'{"kind":"se', b"\0\0\0"])
async def test_a_last_segment_without_a_whole_line_is_where_writing_goes_on(folder: Path, content: bytes) -> None:
    """A crash right after a segment was begun: nothing is added to an earlier one, and the torn bytes are gone."""
    await write(folder, life(1))
    segment_path(folder, 2).write_bytes(content)
    journal, writer, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    locations = await append(writer, life(2))
    journal.close()
    assert {location.segment for location in locations} == {2}
    assert lines_of(folder) == [plain(line) for line in life(1) + life(2)]


async def test_reading_changes_nothing(folder: Path) -> None:
    """Another process may be writing: a torn tail is left as it is, and nothing is made."""
    await write(folder, life(1))
    with segment_path(folder, 1).open("ab") as handle:
        handle.write(b'{"kind":"sent"')
    before = segment_path(folder, 1).read_bytes()
    open_for_reading(folder).close()
    assert segment_path(folder, 1).read_bytes() == before
    assert names_in(folder) == ["000001.jsonl"]


# -- damage ----------------------------------------------------------------------------------------------------------


async def test_a_changed_byte_anywhere_is_named_with_file_and_line(folder: Path) -> None:
    """Every byte of every line but the last, changed in turn: an error that names file and line, each time."""
    lines: list[Line] = [row(1), row(2), SourceEnded(rows=2), row(3), SourceEnded(rows=3)]
    locations = await write(folder, lines, segment_bytes_max=225)
    assert [location.segment for location in locations] == [1, 1, 2, 2, 2]
    for number, location in zip([1, 2, 1, 2], locations, strict=False):
        path = segment_path(folder, location.segment)
        content = path.read_bytes()
        for offset in range(location.offset, location.end):
            _expect_damage(folder, path, content, offset, number)
        path.write_bytes(content)


def _expect_damage(folder: Path, path: Path, content: bytes, offset: int, number: int) -> None:
    bytes_tried = {content[offset] ^ 1, 0, 10} if content[offset] in b'\n"}0' else {content[offset] ^ 1}
    for byte in bytes_tried - {content[offset]}:
        path.write_bytes(content[:offset] + bytes([byte]) + content[offset + 1 :])
        with pytest.raises(RunFolderError, match="damaged") as caught:
            open_for_reading(folder)
        assert (caught.value.file, caught.value.line) == (str(path), number)


async def test_a_changed_byte_in_the_last_line_never_makes_another_line(folder: Path) -> None:
    """Only zeros up to the end may look like a torn tail there; then what is read is a prefix of what was written."""
    lines = life(1)
    await write(folder, lines)
    path = segment_path(folder, 1)
    content = path.read_bytes()
    for offset in range(content.rindex(b"\n", 0, -1) + 1, len(content)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        with pytest.raises(RunFolderError, match="damaged"):
            open_for_reading(folder)
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(RunFolderError, match="damaged"):  # all of the line is there
        open_for_reading(folder)
    path.write_bytes(content[:-2] + b"\0\0")
    assert lines_of(folder) == [plain(line) for line in lines[:2]]


@pytest.mark.parametrize("names", [["000001.jsonl"], ["000002.jsonl"]])
async def test_a_missing_segment_is_named(folder: Path, names: list[str]) -> None:
    """Segments are numbered without a gap."""
    await write(folder, life(1) + life(2) + life(3), segment_bytes_max=700)
    for name in names:
        (folder / name).unlink()
    with pytest.raises(RunFolderError, match="missing") as caught:
        open_for_reading(folder)
    assert str(caught.value.file).endswith(names[0])


async def test_an_earlier_segment_may_not_be_torn(folder: Path) -> None:
    """A crash tears only what was written last."""
    await write(folder, life(1) + life(2), segment_bytes_max=700)
    path = segment_path(folder, 1)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunFolderError, match="cut off") as caught:
        open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    assert caught.value.line == path.read_bytes().count(b"\n") + 1


async def test_a_line_read_later_is_checked_again(folder: Path) -> None:
    """Between replay and reading an answer back, a disk may have gone bad."""
    locations = await write(folder, life(1))
    journal = open_for_reading(folder)
    path = segment_path(folder, 1)
    path.write_bytes(path.read_bytes().replace(b"choices", b"chOices"))
    with pytest.raises(RunFolderError, match="checksum") as caught:
        journal.reader.read(locations[-1])
    assert caught.value.line == 3
    journal.close()


# -- segments and locations ------------------------------------------------------------------------------------------


async def test_every_location_leads_to_its_line_over_all_segments(folder: Path) -> None:
    """Also to those written after reopening in the middle of a segment."""
    numbers = range(12)
    lines = [line for number in numbers for line in life(number)]
    locations = await write(folder, lines[:20], segment_bytes_max=1000)
    journal = open_for_reading(folder)
    locations += await append(writer_after(journal, segment_bytes_max=1000), lines[20:])
    journal.close()
    assert locations[-1].segment > 5
    journal = open_for_reading(folder)
    for line, location in zip(lines, locations, strict=True):
        record = journal.reader.read(location)
        assert record["row"] == getattr(line, "row")  # noqa: B009 - every one of these kinds has it
        assert record["kind"] in {"row", "sent", "completed"}
    for number in numbers:
        known = journal.index.request(request_id(number))
        assert known is not None
        assert journal.reader.read(known.outcome)["provider_request_id"] == f"req_{number}"
        assert journal.reader.read(known.sent)["body"] == {"model": "m"}
    journal.close()


async def test_a_line_longer_than_a_segment_has_one_to_itself(folder: Path) -> None:
    """A long answer is written all the same."""
    long = completed(1, answer=b'{"text":"' + b"x" * 5000 + b'"}')
    locations = await write(folder, [sent(1), long, row(2)], segment_bytes_max=1000)
    assert [location.segment for location in locations] == [1, 2, 3]
    assert len(lines_of(folder)) == 3


# -- what is known afterwards ----------------------------------------------------------------------------------------


async def test_attempts_without_an_outcome_are_closed_at_their_worst_case(folder: Path) -> None:
    """A crash leaves them; they may have been billed; and closing them is done once."""
    await write(folder, [sent(1), completed(1), sent(2), sent(3), attempt_failed(3), sent(3, 2), sent(4), failed(4)])
    journal, writer, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    assert [(line.request, line.attempt, line.uncertain) for line in closing] == [
        (request_id(2), 1, WORST),
        (request_id(3), 2, WORST),
    ]
    assert {line.failure for line in closing} == {FailureKind.INTERRUPTED}
    assert journal.totals.reserved == 2 * WORST
    for line, location in zip(closing, await append(writer, closing), strict=True):
        journal.add(line, location)
    assert (journal.totals.reserved, journal.totals.uncertain) == (0, 2 * WORST)
    journal.close()
    journal, _, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    assert closing == []
    assert (journal.totals.settled, journal.totals.uncertain) == (COST, 2 * WORST)
    journal.close()


HISTORY = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["sent", "completed", "attempt_failed", "failed"])), max_size=40
)


def history(steps: list[tuple[int, str]]) -> list[Line]:
    """Lines as the engine could have written them: what comes back was sent before."""
    lines: list[Line] = []
    attempts: Counter[int] = Counter()
    open_: set[int] = set()
    done: set[int] = set()
    for number, what in steps:
        if what == "sent" and number not in open_ | done:
            attempts[number] += 1
            lines.append(sent(number, attempts[number]))
            open_.add(number)
        elif what != "sent" and number in open_:
            open_.remove(number)
            if what == "completed":
                lines.append(completed(number, attempts[number]))
                done.add(number)
            elif what == "attempt_failed":
                lines.append(attempt_failed(number, attempts[number], uncertain=WORST * (number % 2)))
            else:
                lines.append(failed(number, attempts[number], uncertain=WORST * (number % 2)))
    return lines


@given(HISTORY)
def test_totals_are_a_plain_recount(steps: list[tuple[int, str]]) -> None:
    """Money, counts and tokens, each counted again by the simplest possible sum over the lines."""
    lines = history(steps)
    totals = Totals()
    for line in lines:
        totals.fold(line)
    answers = [line for line in lines if isinstance(line, Completed)]
    ends = [line for line in lines if not isinstance(line, Sent)]
    assert totals.settled == COST * len(answers)
    assert totals.uncertain == sum(getattr(line, "uncertain", 0) for line in lines)
    assert totals.reserved == WORST * (sum(isinstance(line, Sent) for line in lines) - len(ends))
    assert totals.attempts.total() == len(ends)
    assert totals.completed_of("plot") == len(answers)
    assert totals.tokens["plot", "input"] == 10 * len(answers)
    assert totals.tokens["plot", "reasoning"] == 4 * len(answers)
    assert totals.finished.total() == len(answers) + sum(isinstance(line, Failed) for line in lines)


@given(HISTORY, st.integers(0, 40))
def test_the_index_says_the_same_whenever_it_is_written(steps: list[tuple[int, str]], cut: int) -> None:
    """What waits in memory and what stands in tables come to the same, line by line, and divided anywhere."""
    from tunemill.journal.journal import record
    from tunemill.journal.segments import Location

    lines = [(Location(1, 100 * at, 100), line) for at, line in enumerate(history(steps), 1)]
    replayed, running = Index(None), Index(None)
    for at, (location, line) in enumerate(lines):
        record(replayed, line, location)
        record(running, line, location)
        running.freeze()
        running.thaw()
        if at == cut:
            replayed.freeze()
            replayed.thaw()
    for number in range(5):
        assert replayed.request(request_id(number)) == running.request(request_id(number))
        assert replayed.slot(row_id(number), "plot", 0) == running.slot(row_id(number), "plot", 0)
        _agree(replayed, number, [line for _, line in lines])
    replayed.close()
    running.close()


def _agree(index: Index, number: int, lines: list[Line]) -> None:
    """The index says of a request what its last lines say."""
    own = [line for line in lines if getattr(line, "request", None) == request_id(number)]
    known = index.request(request_id(number))
    if not own:
        assert known is None
        return
    assert known is not None
    last = [line for line in own if isinstance(line, Sent | Completed | Failed)][-1]
    states = {Sent: RequestState.SENT, Completed: RequestState.COMPLETED, Failed: RequestState.FAILED}
    assert known.state is states[type(last)]
    assert known.attempts == sum(isinstance(line, Sent) for line in own)
    assert known.sent.length > 0


async def test_the_body_is_found_of_a_request_that_was_set_aside_first(folder: Path) -> None:
    """Failed without being sent (too large for a limit), sent in a later process: its prompt can be shown."""
    await write(folder, [failed(1, 0), sent(1), completed(1)])
    journal = open_for_reading(folder)
    known = journal.index.request(request_id(1))
    assert known is not None
    assert journal.reader.read(known.sent)["body"] == {"model": "m"}
    journal.close()


async def test_rows_move_go_and_come_back(folder: Path) -> None:
    """Positions are the last walk's; a row keeps the line with its fields."""
    moved = replace(row(2), position=0, fields=None)
    await write(folder, [row(0), row(1), row(2), SourceEnded(rows=3), moved, SourceEnded(rows=1)])
    journal = open_for_reading(folder)
    found = journal.index.row_at(0)
    assert found is not None
    assert found[0] == key_of(row_id(2))
    assert journal.reader.read(found[1].location)["fields"] == {"text": "x"}
    assert journal.index.positions() == 1
    assert journal.index.row_at(1) is None
    journal.close()


async def test_a_reused_answer_serves_its_place(folder: Path) -> None:
    """And is counted for rows that are in the source."""
    reused = Reused(row=row_id(2), step="plot", sample=0, request=request_id(1))
    await write(folder, [*life(1), replace(row(2), position=0), reused])
    journal = open_for_reading(folder)
    served = journal.index.slot_request(row_id(2), "plot", 0)
    assert served is not None
    assert served.state is RequestState.COMPLETED
    assert journal.index.slots_in(RequestState.COMPLETED) == 2
    journal.close()


def test_a_folder_that_is_not_there_is_an_empty_journal(folder: Path) -> None:
    """Reading it makes nothing; writing makes it."""
    journal = Journal(folder, index_path=None)
    journal.close()
    assert not folder.exists()
    journal, _, closing = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    journal.close()
    assert closing == []
    assert list(folder.iterdir()) == []


def test_an_index_that_a_killed_process_left_is_no_obstacle(folder: Path) -> None:
    """Killed between making the file and unlinking it."""
    folder.mkdir()
    import sqlite3

    with sqlite3.connect(folder / ".index") as left:
        left.execute("CREATE TABLE request (id INTEGER PRIMARY KEY)")
    left.close()
    journal, _, _ = open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)
    journal.close()
