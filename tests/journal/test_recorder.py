"""The real recorder on a real journal: rows that move, answers that are reused, what is tried again; and that the
recorder in memory, with which the engine's tests work, keeps the same rules."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clock import ManualClock
from tests.support.recorder import MemoryJournal, MemoryRecorder, State

from tunemill.app.recorder import JournalRecorder
from tunemill.engine import Place, Standing, Step
from tunemill.journal import Journal, RequestState, open_for_reading, open_for_writing
from tunemill.model import Completion, Delivered, Failure, FailureKind, Lane, LimitHints, Request, Row

STEPS = [Step(name="a", samples=1, lane=Lane("", "m")), Step(name="b", samples=1, lane=Lane("", "m"))]
FAILURE = Failure(kind=FailureKind.BAD_REQUEST, message="no", may_be_billed=False)


def row(number: int) -> Row:
    return Row(id=f"{number + 1:016x}" * 2, fields={"text": f"row {number}"})


def place(number: int, step: int = 0) -> Place:
    return Place(row=row(number), step=step, sample=0, texts={})


def request(number: int, at: Place) -> Request:
    """A request by content: the same number is the same request, wherever it is asked for."""
    return Request(
        id=f"{number + 2**32:016x}" * 2,
        row_id=at.row.id,
        step=STEPS[at.step].name,
        sample=at.sample,
        lane=Lane("", "m"),
        path="/chat/completions",
        body=b'{"n":%d}' % number,
        input_tokens_max=10,
        output_tokens_max=10,
    )


def answer(text: str) -> Delivered:
    body = b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % text.encode()
    completion = Completion(text=text, finish_reason="stop", provider_request_id="req")
    return Delivered(body=body, hints=LimitHints(), completion=completion)


@contextlib.asynccontextmanager
async def recording(
    folder: Path, *, retry_failed: bool = False, keep_existing: bool = False
) -> AsyncIterator[tuple[JournalRecorder, Journal]]:
    """One process: opens the journal, closes what a crash left, records, and ends in order."""
    clock = ManualClock()
    journal, writer, interrupted = open_for_writing(folder, clock=clock, emit=lambda committed: None)
    recorder = JournalRecorder(
        journal, writer, clock=clock, steps=STEPS, retry_failed=retry_failed, keep_existing=keep_existing
    )
    for line in interrupted:
        journal.add(line, writer.append(line))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        try:
            yield recorder, journal
        finally:
            writer.close()
    journal.close()


async def complete(recorder: JournalRecorder, of: Request, text: str = "yes", attempt: int = 1) -> None:
    delivered = answer(text)
    await recorder.sent(of, attempt, 1000)
    await recorder.completed(of, attempt, delivered, 600, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def walk(recorder: JournalRecorder | MemoryRecorder, numbers: Sequence[int]) -> list[bool]:
    """Walk a source as the dispatcher does: which rows are new places."""
    position, kept = 0, []
    for number in numbers:
        kept.append(recorder.row(position, row(number)))
        position += kept[-1]
    recorder.source_ended(position)
    return kept


def rows_at(journal: Journal) -> list[str]:
    """The fields' text of the row at each position."""
    texts = []
    for position in range(journal.index.positions()):
        found = journal.index.row_at(position)
        assert found is not None
        texts.append(journal.reader.read(found[1].location)["fields"]["text"])
    return texts


@pytest.mark.parametrize(
    "walks",
    [
        [[0, 1, 2], [2, 1, 0]],  # turned round
        [[0, 1, 2], [1, 2]],  # the first is gone
        [[0, 1], [5, 0, 1]],  # one before all
        [[0, 0, 1, 0], [1, 0, 0]],  # duplicates
        [[0, 1, 2], [2, 1, 2]],  # a duplicate where it once stood by itself
        [[0, 1, 2], [0], [0, 1, 2]],  # a pilot in between
        [[0, 1], [], [1, 0]],
    ],
)
async def test_rows_may_move_go_come_and_be_there_twice(folder: Path, walks: list[list[int]]) -> None:
    """After each walk, the positions are those of the source as it is now, each row once, its fields still readable."""
    for numbers in walks:
        async with recording(folder) as (recorder, journal):
            first = {number: numbers.index(number) for number in numbers}
            assert walk(recorder, numbers) == [first[number] == at for at, number in enumerate(numbers)]
        journal = open_for_reading(folder)
        assert rows_at(journal) == [f"row {number}" for number in dict.fromkeys(numbers)]
        journal.close()


async def test_walking_the_same_source_again_writes_nothing_about_rows(folder: Path) -> None:
    """A finished run may be run again a thousand times."""
    async with recording(folder) as (recorder, _):
        walk(recorder, [0, 1, 2])
    size = (folder / "000001.jsonl").read_bytes().count(b'"kind":"row"')
    async with recording(folder) as (recorder, _):
        walk(recorder, [0, 1, 2])
    assert (folder / "000001.jsonl").read_bytes().count(b'"kind":"row"') == size == 3


async def test_an_answer_is_known_in_the_next_process_and_read_back(folder: Path) -> None:
    """With the attempts that it took, and as it was sent."""
    async with recording(folder) as (recorder, _):
        await complete(recorder, request(1, place(0)), "so it is")
        assert recorder.answer_at(place(0)) == answer("so it is").completion
    async with recording(folder) as (recorder, _):
        assert recorder.look_up(place(0), request(1, place(0))) == (Standing.ANSWERED, 1)
        assert recorder.answer_at(place(0)) == answer("so it is").completion


async def test_a_place_is_served_by_an_answer_to_another_row(folder: Path) -> None:
    """Written down once, and only where it is news."""
    async with recording(folder) as (recorder, _):
        await complete(recorder, request(1, place(0)))
        for _ in range(3):
            recorder.serve(place(0), request(1, place(0)))
            recorder.serve(place(1), request(1, place(1)))
    content = (folder / "000001.jsonl").read_bytes()
    assert content.count(b'"kind":"reused"') == 1
    async with recording(folder) as (recorder, _):
        assert recorder.answer_at(place(1)).text == "yes"


async def test_failed_requests_stay_failed_until_they_are_to_be_tried_again(folder: Path) -> None:
    """And then once: what fails in the very process that tries again is not tried a third time."""
    async with recording(folder) as (recorder, _):
        await recorder.sent(request(1, place(0)), 1, 1000)
        await recorder.failed(request(1, place(0)), 1, FAILURE, 0)
        assert recorder.look_up(place(0), request(1, place(0))) == (Standing.SET_ASIDE, 1)
    async with recording(folder) as (recorder, _):
        assert recorder.look_up(place(0), request(1, place(0))) == (Standing.SET_ASIDE, 1)
    async with recording(folder, retry_failed=True) as (recorder, _):
        assert recorder.look_up(place(0), request(1, place(0))) == (Standing.NEW, 1)
        await recorder.sent(request(1, place(0)), 2, 1000)
        await recorder.failed(request(1, place(0)), 2, FAILURE, 0)
        assert recorder.look_up(place(1), request(1, place(1))) == (Standing.SET_ASIDE, 2)


async def test_an_existing_answer_may_be_kept(folder: Path) -> None:
    """The place has one to another request; a place without any is new; an answer to this very request is better."""
    async with recording(folder) as (recorder, _):
        await complete(recorder, request(1, place(0)), "old")
    async with recording(folder, keep_existing=True) as (recorder, _):
        assert recorder.look_up(place(0), request(2, place(0))) == (Standing.KEPT, 0)
        assert recorder.look_up(place(1), request(2, place(1))) == (Standing.NEW, 0)
        await complete(recorder, request(2, place(1)), "new")
        assert recorder.look_up(place(0), request(2, place(0))) == (Standing.ANSWERED, 1)
        assert recorder.answer_at(place(0)).text == "old"
    async with recording(folder) as (recorder, _):
        assert recorder.look_up(place(0), request(3, place(0))) == (Standing.NEW, 0)


async def test_what_cannot_be_sent_is_set_aside_once(folder: Path) -> None:
    """The next process does not write it again; a place that was served in between is set aside anew."""
    async with recording(folder) as (recorder, _):
        assert recorder.set_aside(place(0), FailureKind.UPSTREAM_FAILED, "no text") is not None
        assert recorder.set_aside(place(0), FailureKind.UPSTREAM_FAILED, "no text") is None
    async with recording(folder) as (recorder, journal):
        assert recorder.set_aside(place(0), FailureKind.UPSTREAM_FAILED, "no text") is None
        await complete(recorder, request(1, place(0)))
        assert recorder.set_aside(place(0), FailureKind.BAD_REQUEST, "no") is not None
        known = journal.index.slot_request(row(0).id, "a", 0)
        assert known is not None
        assert known.state is RequestState.FAILED


async def test_a_request_that_never_left_has_no_prompt_until_it_is_sent(folder: Path) -> None:
    """Too large for the limit today, sent tomorrow."""
    async with recording(folder) as (recorder, _):
        await recorder.failed(request(1, place(0)), 0, FAILURE, 0)
    async with recording(folder, retry_failed=True) as (recorder, journal):
        assert recorder.look_up(place(0), request(1, place(0))) == (Standing.NEW, 0)
        await complete(recorder, request(1, place(0)))
        known = journal.index.request(request(1, place(0)).id)
        assert known is not None
        assert journal.reader.read(known.sent)["body"] == {"n": 1}


# -- the twin in memory ----------------------------------------------------------------------------------------------

OPERATIONS = st.one_of(
    st.tuples(st.just("walk"), st.lists(st.integers(0, 4), max_size=6)),
    st.tuples(
        st.sampled_from(["complete", "fail", "fail unsent", "send", "attempt_failed", "serve", "set_aside", "look"]),
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3)),
    ),
)
PROCESSES = st.lists(st.tuples(st.booleans(), st.booleans(), st.lists(OPERATIONS, max_size=12)), min_size=1, max_size=4)


@dataclass
class Pair:
    """The same asked of both; what they say must be the same."""

    real: JournalRecorder
    memory: MemoryRecorder
    in_flight: dict[str, int] = field(default_factory=dict)

    async def do(self, what: str, of: tuple[int, int, int]) -> None:
        where = place(of[0], of[1])
        sought = request(of[2], where)
        standing = self.real.look_up(where, sought)
        assert standing == self.memory.look_up(where, sought)
        attempts = standing[1]
        is_free = standing[0] is Standing.NEW and sought.id not in self.in_flight
        for recorder in (self.real, self.memory):
            if what == "serve" and standing[0] is not Standing.KEPT:
                recorder.serve(where, sought)
            elif what == "fail unsent" and is_free:
                await recorder.failed(sought, attempts, FAILURE, 0)
            elif what in {"complete", "fail", "send", "attempt_failed"} and is_free:
                await _attempt(recorder, what, sought, attempts + 1)
        if what == "set_aside":
            both = [recorder.set_aside(where, FailureKind.BAD_REQUEST, "no") for recorder in (self.real, self.memory)]
            assert (both[0] is None) == (both[1] is None)
        if what == "send" and is_free:
            self.in_flight[sought.id] = attempts + 1


async def _attempt(recorder: JournalRecorder | MemoryRecorder, what: str, of: Request, attempt: int) -> None:
    await recorder.sent(of, attempt, 1000)
    if what == "complete":
        delivered = answer(f"{of.id[:4]} {attempt}")
        await recorder.completed(of, attempt, delivered, 600, 0.5)
    elif what == "fail":
        await recorder.failed(of, attempt, FAILURE, 300)
    elif what == "attempt_failed":
        await recorder.attempt_failed(of, attempt, FAILURE, 300)


@settings(max_examples=60)
@given(PROCESSES)
def test_the_recorder_in_memory_keeps_the_real_ones_rules(
    processes: list[tuple[bool, bool, list[tuple[str, object]]]],
) -> None:
    """Any operations over any number of processes: the same standings, places, money and texts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(Path(folder), processes))


async def _compare(folder: Path, processes: list[tuple[bool, bool, list[tuple[str, object]]]]) -> None:
    disk = MemoryJournal()
    for retry_failed, keep_existing, operations in processes:
        disk.reopen()
        async with recording(folder, retry_failed=retry_failed, keep_existing=keep_existing) as (real, journal):
            memory = MemoryRecorder(
                disk, steps=STEPS, clock=ManualClock(), retry_failed=retry_failed, keep_existing=keep_existing
            )
            pair = Pair(real, memory)
            for what, of in operations:
                if isinstance(of, list):
                    assert walk(real, of) == walk(memory, of)
                else:
                    assert isinstance(of, tuple)
                    await pair.do(what, of)
                _expect_the_same(journal, disk, pair)


def _expect_the_same(journal: Journal, disk: MemoryJournal, pair: Pair) -> None:
    assert (journal.totals.settled, journal.totals.uncertain) == (disk.settled, disk.uncertain)
    assert journal.totals.reserved == sum(disk.unresolved.values())
    for number in range(3):
        for at, step in enumerate(STEPS):
            known = journal.index.slot_request(row(number).id, step.name, 0)
            state = disk.state_at(row(number).id, step.name, 0)
            assert (known.state.name if known else None) == (state.name if state else None)
            if state is State.COMPLETED:
                texts = {recorder.answer_at(place(number, at)).text for recorder in (pair.real, pair.memory)}
                assert len(texts) == 1
