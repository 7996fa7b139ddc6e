"""Damage anywhere in a journal: it is said and never skipped, and a repaired one opens, with no money forgotten."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.journal.journal_support import (
    COST,
    WORST,
    attempt_failed,
    completed,
    failed,
    life,
    request_id,
    row,
    row_id,
    sent,
    write,
)

from tunemill.errors import RunFolderError
from tunemill.journal import Ended, Journal, Line, Opened, RequestState, Reused, SourceEnded, Totals, open_for_reading
from tunemill.journal.codec import decode, encode
from tunemill.journal.repair import inspect, repair
from tunemill.journal.segments import segment_path

OPENED = Opened(at=1.0, run="r", version="0", rows=6, places=1, simulated=False)
LINES: Sequence[Line] = (
    OPENED,
    *life(0),
    row(1),
    sent(1),
    attempt_failed(1),
    sent(1, 2),
    completed(1, 2),
    row(2),
    sent(2),
    failed(2, uncertain=WORST),
    row(3),
    replace(failed(3), attempt=0),
    row(4),
    Reused(row=row_id(4), step="plot", sample=0, request=request_id(0)),
    SourceEnded(rows=5),
    Ended(at=9.0, state="finished_with_failures", reason="1 request failed"),
)
COMPLETED = (0, 1)
SAMPLED = 60


def spent(journal: Journal) -> int:
    """All that was or may have been billed."""
    return journal.totals.settled + journal.totals.uncertain + journal.totals.reserved


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small journal with a line of every kind, and nothing wrong with it."""
    import asyncio

    folder = tmp_path_factory.mktemp("whole") / "journal"
    asyncio.run(write(folder, LINES))
    return folder


def check_damaged(whole: Path, folder: Path, content: bytes) -> None:
    """Whatever the journal's bytes are: opening says so, or nothing is lost but a torn end; and repairing it leaves a
    journal that opens, holds no wrong answer, has forgotten no money, and names what has to be sent again."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    journal_folder = run / "journal"
    journal_folder.mkdir()
    segment_path(journal_folder, 1).write_bytes(content)
    before = open_for_reading(whole)
    original = segment_path(whole, 1).read_bytes()
    opened, error = opened_or_not(journal_folder)
    if opened is None:
        assert error is not None
        assert error.line is not None
        assert "tunemill repair" in str(error)
        assert inspect(journal_folder).damaged
    else:
        lines = content[: opened.end.end].splitlines(keepends=True)
        assert original.startswith(b"".join(lines)), "a changed line was believed"
        assert len(original.splitlines()) - len(lines) <= 1 or original.startswith(content), "more than the end is gone"
        assert not inspect(journal_folder).damaged
        opened.close()
    found = repair(journal_folder, run / "damaged.jsonl", at=10.0)
    assert repair(journal_folder, run / "damaged.jsonl", at=11.0).damaged == []
    mended = open_for_reading(journal_folder)
    again = {line.request for line in found.again} | set(found.perhaps)
    unread = any(not piece.request for piece in found.damaged)
    for number in COMPLETED:
        now, then = mended.index.request(request_id(number)), before.index.request(request_id(number))
        assert then is not None
        if now is not None and now.state is RequestState.COMPLETED:
            assert mended.reader.read(now.outcome) == before.reader.read(then.outcome), "a wrong answer"
        elif found.damaged:
            assert request_id(number) in again or unread, "to be sent again, and not named"
    if found.damaged:
        assert spent(mended) >= spent(before), "money was forgotten"
    mended.close()
    before.close()


def opened_or_not(folder: Path) -> tuple[Journal | None, RunFolderError | None]:
    """The journal, or why it does not open."""
    try:
        return open_for_reading(folder), None
    except RunFolderError as error:
        return None, error


def flips(size: int) -> list[tuple[int, int]]:
    """Every byte, with a low and a high bit changed, made zero (-1) and made a line break (-2)."""
    return [(at, mask) for at in range(size) for mask in (1, 32, -1, -2)]


def flipped(content: bytes, at: int, mask: int) -> bytes:
    """With one byte changed."""
    changed = {-1: 0, -2: 10}.get(mask, content[at] ^ max(mask, 0))
    return content[:at] + bytes([changed]) + content[at + 1 :]


@pytest.mark.parametrize("part", range(4))
def test_a_changed_byte_is_never_believed(whole: Path, tmp_path: Path, part: int) -> None:
    """A sample of all bytes and bits, and each of the last bytes."""
    content = segment_path(whole, 1).read_bytes()
    every = flips(len(content))
    step = len(every) // SAMPLED
    chosen = every[part * step // 4 :: step] if part else every[-60:]
    for at, mask in chosen:
        if (changed := flipped(content, at, mask)) != content:
            check_damaged(whole, tmp_path, changed)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
def test_no_changed_byte_is_ever_believed(whole: Path, tmp_path: Path, part: int) -> None:
    """Every byte, in each of these ways."""
    content = segment_path(whole, 1).read_bytes()
    for at, mask in flips(len(content))[part::8]:
        if (changed := flipped(content, at, mask)) != content:
            check_damaged(whole, tmp_path, changed)


def test_a_journal_cut_anywhere_in_its_last_lines_is_what_was_written_before(whole: Path, tmp_path: Path) -> None:
    """Every byte of the last three lines."""
    content = segment_path(whole, 1).read_bytes()
    last = sum(len(line) for line in content.splitlines(keepends=True)[-3:])
    for size in range(len(content) - last, len(content), 3):
        check_damaged(whole, tmp_path, content[:size])


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_journal_cut_anywhere_is_what_was_written_before(whole: Path, tmp_path: Path) -> None:
    """Every byte."""
    content = segment_path(whole, 1).read_bytes()
    for size in range(len(content)):
        check_damaged(whole, tmp_path, content[:size])


@given(st.integers(0, 4000))
def test_any_prefix_of_the_bytes_opens_to_a_prefix_of_the_lines(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    """And to the state after just these lines."""
    folder = tmp_path_factory.mktemp("prefix") / "journal"
    folder.mkdir()
    texts = [encode(line) for line in LINES]
    content = b"".join(texts)[:size]
    segment_path(folder, 1).write_bytes(content)
    many = content.count(b"\n")
    opened = open_for_reading(folder)
    totals = Totals()
    for text in texts[:many]:
        totals.fold(decode(text))
    assert vars(opened.totals) == vars(totals)
    opened.close()


@pytest.mark.parametrize("number", range(len(LINES)))
def test_each_line_may_be_lost(whole: Path, tmp_path: Path, number: int) -> None:
    """A byte in the middle of it; and what is left is what the other lines say, with the money that it told of."""
    content = segment_path(whole, 1).read_bytes()
    lines = content.splitlines(keepends=True)
    at = sum(map(len, lines[:number])) + len(lines[number]) // 2
    check_damaged(whole, tmp_path, flipped(content, at, 1))


async def test_what_only_lost_lines_told_of_is_counted_at_the_worst_case(tmp_path: Path) -> None:
    """Both lines of a request are gone: nobody knows what it cost, but not more than the largest of all."""
    folder = tmp_path / "journal"
    await write(folder, [OPENED, *life(0), *life(1)])
    path = segment_path(folder, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        b"".join([*lines[:5], lines[5].replace(b"reserved", b"Reserved"), lines[6].replace(b"usd", b"USD")])
    )
    found = repair(folder, tmp_path / "damaged.jsonl", at=10.0)
    assert (found.uncertain, found.perhaps, found.again) == (WORST, [request_id(1)], [])
    journal = open_for_reading(folder)
    assert (journal.totals.settled, journal.totals.uncertain) == (COST, WORST)
    journal.close()


async def test_a_lost_outcome_leaves_its_request_open(tmp_path: Path) -> None:
    """It is counted at its worst case by whoever opens the journal, and not twice."""
    folder = tmp_path / "journal"
    await write(folder, [OPENED, *life(0)])
    path = segment_path(folder, 1)
    path.write_bytes(path.read_bytes().replace(b'"usd"', b'"USD"'))
    found = repair(folder, tmp_path / "damaged.jsonl", at=10.0)
    assert (found.uncertain, found.open) == (0, WORST)
    assert [line.request for line in found.again] == [request_id(0)]


async def test_a_repair_that_was_interrupted_is_done_again_and_counts_nothing_twice(tmp_path: Path) -> None:
    """Killed after the last segment was written and before an earlier one was."""
    folder = tmp_path / "journal"
    await write(folder, [OPENED, *life(0), *life(1), *life(2)], segment_bytes_max=900)
    path = segment_path(folder, 1)
    content = path.read_bytes()
    damaged = content.replace(b"reserved", b"Reserved").replace(b'"usd"', b'"USD"')
    path.write_bytes(damaged)
    first = repair(folder, tmp_path / "damaged.jsonl", at=10.0)
    assert first.uncertain
    path.write_bytes(damaged)
    second = repair(folder, tmp_path / "damaged.jsonl", at=11.0)
    assert (len(second.damaged), second.uncertain) == (len(first.damaged), 0)
    assert len((tmp_path / "damaged.jsonl").read_bytes().splitlines()) == len(first.damaged)
    assert inspect(folder).damaged == []


async def test_two_lines_with_a_changed_break_are_told_apart(tmp_path: Path) -> None:
    """Both check: nothing is lost but the byte between them."""
    folder = tmp_path / "journal"
    await write(folder, [OPENED, *life(0), *life(1)])
    path = segment_path(folder, 1)
    content = path.read_bytes()
    for number in range(6):
        at = sum(map(len, content.splitlines(keepends=True)[: number + 1])) - 1
        path.write_bytes(flipped(content, at, 4))
        found = repair(folder, tmp_path / "damaged.jsonl", at=10.0)
        assert [len(piece.text) for piece in found.damaged] == [1]
        assert (found.again, found.perhaps, found.uncertain) == ([], [], 0)
        assert path.read_bytes().startswith(content)
