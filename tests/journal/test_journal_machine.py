"""The journal as a state machine: whatever is written, rotated, compressed, kept, killed and opened again, what is
replayed is what was durable and a whole-line prefix of the rest, in order, with nothing invented; damage is named.

The model is a list of lines (`journal_model`). A crash loses what was not fsynced from any byte on, or leaves zeros.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.journal.journal_model import Model
from tests.journal.journal_support import (
    WORST,
    attempt_failed,
    completed,
    failed,
    request_id,
    row,
    row_id,
    sent,
)
from tests.support.clock import ManualClock

from tunemill.errors import RunFolderError
from tunemill.journal import (
    Ended,
    Journal,
    JournalWriter,
    Line,
    Location,
    Mark,
    Marked,
    Opened,
    Reused,
    SnapshotKeeper,
    SourceEnded,
    open_for_reading,
    open_for_writing,
)
from tunemill.journal import snapshot as snapshots
from tunemill.journal.compressing import compress_finished
from tunemill.journal.segments import file_of, scan, segment_path, segments_of

NUMBERS = st.integers(0, 6)
NASTY = ("", '"', "\\", "\n", "\0", "\u2028", ',"answer":', ',"body":{', '","crc":"00000000"}\n', '{"kind":"sent",')
PARTS = st.floats(0, 1, exclude_max=True)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=12)
UNSENT = 1000
Result = TypeVar("Result")


def is_open(machine: "JournalMachine") -> bool:
    return machine.journal is not None


def is_closed(machine: "JournalMachine") -> bool:
    return machine.journal is None


def payload(text: str, *, pretty: bool) -> bytes:
    """JSON as a provider may send it."""
    return orjson.dumps({"text": text}, option=orjson.OPT_INDENT_2 if pretty else 0)


class JournalMachine(RuleBasedStateMachine):
    """One run folder's journal. A process has it open, or nobody has."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="journal-machine-"))
        self.folder = self.place / "journal"
        self.runner = asyncio.Runner()
        self.model = Model()
        self.journal: Journal | None = None
        self.draft: snapshots.Draft | None = None
        self.late: list[int] = []  # lines of the model that the journal has not been told of
        self.limit = 1 << 30

    def teardown(self) -> None:
        if self.journal is not None:
            self.end_writing()
            self.journal.close()
        self.runner.close()
        shutil.rmtree(self.place)

    # -- a process begins ----------------------------------------------------------------------------------------

    @precondition(is_closed)
    @rule()
    def open(self) -> None:
        """It finds what was durable, and closes what a crash left open."""
        self.journal, self.writer, closing = open_for_writing(
            self.folder, clock=ManualClock(), emit=lambda committed: None
        )
        self.model.check(self.journal)
        left_open = self.model.open_requests()
        assert {line.request: line.uncertain for line in closing} == dict.fromkeys(left_open, WORST)
        self.writer._segment_bytes_max = self.limit
        self.task = self.wait(self._begin(self.writer))
        for line in closing:
            self.append(line)
        self.append(Opened(at=1.0, run="r", version="0", rows=7, places=1, simulated=False))

    async def _begin(self, writer: JournalWriter) -> asyncio.Task[None]:
        return asyncio.create_task(writer.run())

    # -- lines ---------------------------------------------------------------------------------------------------

    def append(self, line: Line, *, late: bool = False) -> None:
        at = self.writer.append(line)
        self.model.lines.append((line, at))
        if late:
            self.late.append(len(self.model.lines) - 1)
        else:
            assert self.journal is not None
            self.journal.add(line, at)

    @precondition(is_open)
    @rule(number=NUMBERS, position=NUMBERS, text=TEXTS, with_fields=st.booleans())
    def see_row(self, number: int, position: int, text: str, with_fields: bool) -> None:
        fields = {"text": text, text: "x", "answer": "x", "body": "x"} if with_fields else None
        self.append(replace(row(number), position=position, fields=fields))

    @precondition(is_open)
    @rule(number=NUMBERS, text=TEXTS, kind=st.sampled_from(["source", "set aside", "ended"]))
    def say(self, number: int, text: str, kind: str) -> None:
        """What is no attempt and no row: also a request that failed without having been sent."""
        lines: dict[str, Line] = {
            "source": SourceEnded(rows=number),
            "set aside": replace(failed(number), request=request_id(UNSENT + number), attempt=0),
            "ended": Ended(at=2.0, state="interrupted", reason=text),
        }
        self.append(lines[kind])

    @precondition(is_open)
    @rule(numbers=st.sets(NUMBERS, min_size=1, max_size=4), text=TEXTS, pretty=st.booleans(), parent=st.booleans())
    def send(self, numbers: set[int], text: str, pretty: bool, parent: bool) -> None:
        """For the first time or again, once what became of the last attempt is taken into account."""
        for number in sorted(numbers):
            if request_id(number) in self.model.open_requests():
                continue
            self.count_late(request_id(number))
            line = sent(number, self.model.requests().get(request_id(number), (0, 0))[1] + 1)
            body = None if line.body is None else orjson.Fragment(payload(text, pretty=pretty))
            self.append(replace(line, body=body, parent=request_id(99)[:16] if parent else ""))

    @precondition(lambda self: is_open(self) and self.model.open_requests())
    @rule(
        picks=st.lists(NUMBERS, min_size=1, max_size=3),
        what=st.sampled_from(["completed", "completed", "attempt_failed", "failed"]),
        text=TEXTS,
        pretty=st.booleans(),
        amount=st.sampled_from([0, 1, WORST]),
        late=st.booleans(),
    )
    def become(self, picks: list[int], what: str, text: str, pretty: bool, amount: int, late: bool) -> None:
        """Attempts' outcome; the journal may be told of it after later lines."""
        for pick in picks:
            attempts = list(self.model.open_requests().values())
            if not attempts:
                return
            attempt = attempts[pick % len(attempts)]
            number = int(attempt.row[:16], 16)
            line: Line = attempt_failed(number, attempt.attempt, uncertain=amount)
            if what == "completed":
                line = completed(number, attempt.attempt, answer=payload(text, pretty=pretty))
                line = replace(line, cost=amount, outcome=text)
            elif what == "failed":
                line = replace(failed(number, attempt.attempt, uncertain=amount), message=text)
            self.append(line, late=late)

    @precondition(lambda self: is_open(self) and self.model.requests())
    @rule(number=NUMBERS, pick=NUMBERS)
    def reuse(self, number: int, pick: int) -> None:
        known = list(self.model.requests())
        self.append(Reused(row=row_id(number), step="plot", sample=0, request=known[pick % len(known)]))

    @precondition(is_open)
    @rule(number=NUMBERS)
    def mark(self, number: int) -> None:
        """How far somebody had come, behind all lines that the writer was given, counted or not."""
        assert self.journal is not None
        said, lines = Mark(inputs="", walk={"number": number}), len(self.model.lines)
        self.journal.mark_now = lambda: said
        self.journal.add_mark(self.writer)
        self.model.lines.append((Marked(inputs=said.inputs, walk=said.walk, lines=lines), self.writer.last))

    @precondition(lambda self: self.late)
    @rule()
    def count_all(self) -> None:
        self.count_late("")

    def count_late(self, request: str) -> None:
        """Of this request; of all for ""."""
        assert self.journal is not None
        for number in list(self.late):
            line, at = self.model.lines[number]
            if getattr(line, "request", "").startswith(request):
                self.journal.add(line, at)
                self.late.remove(number)

    # -- files ---------------------------------------------------------------------------------------------------

    @precondition(is_open)
    @rule(limit=st.sampled_from([1, 600, 2000, 1 << 30]))
    def rotate(self, limit: int) -> None:
        """From here on a segment ends after so many bytes; after 1, with each line."""
        self.limit = self.writer._segment_bytes_max = limit

    @precondition(is_open)
    @rule()
    def group_commit(self) -> None:
        self.wait(self.writer.flush())
        self.model.durable = len(self.model.lines)

    @precondition(is_open)
    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=4))
    def commit(self, numbers: list[int]) -> None:
        """Several wait at once, each for its own line; all before are durable with them."""
        assert self.journal is not None
        lines: list[Line] = [row(number) for number in numbers]

        async def together() -> list[Any]:
            return await asyncio.gather(*map(self.writer.commit, lines))

        for line, at in zip(lines, self.wait(together()), strict=True):
            self.model.lines.append((line, at))
            self.journal.add(line, at)
        self.model.durable = len(self.model.lines)

    @precondition(lambda self: is_open(self) and self.draft is None)
    @rule(at_once=st.booleans())
    def begin_a_snapshot(self, at_once: bool) -> None:
        """Of this moment, whatever comes before it is written."""
        assert self.journal is not None
        if at_once:
            self.wait(SnapshotKeeper(self.journal, self.writer).take())
            self.model.durable = len(self.model.lines)
        else:
            self.draft = self.journal.draft(self.writer)

    @precondition(lambda self: self.draft is not None)
    @rule()
    def write_the_snapshot(self) -> None:
        self.group_commit()
        assert self.journal is not None
        assert self.draft is not None
        self.journal.keep(self.draft, self.draft.write())
        self.draft = None
        self.look()

    @precondition(is_closed)
    @rule()
    def compress(self) -> None:
        compress_finished(self.folder)

    @precondition(is_closed)
    @rule(name=st.sampled_from([snapshots.FACTS, *snapshots.IMAGES]))
    def lose_a_part_of_the_snapshot(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    # -- a process ends ------------------------------------------------------------------------------------------

    def end_writing(self) -> None:
        """All that the writer was given reaches the files; a snapshot that was not written is none."""
        if self.draft is not None and self.journal is not None:
            self.journal.drop(self.draft)
        self.draft = None
        self.writer.close()
        self.wait(self._ended())

    async def _ended(self) -> None:
        await self.task

    @precondition(is_open)
    @rule()
    def close(self) -> None:
        """On purpose: all is durable, and a snapshot is left, also where it was not told of every line."""
        assert self.journal is not None
        self.end_writing()
        self.model.durable = len(self.model.lines)
        self.journal.close_after(self.writer)
        self.journal = None
        self.late.clear()

    @precondition(is_open)
    @rule(part=st.floats(0, 1), zeros=st.booleans(), empty=st.booleans())
    def crash(self, part: float, zeros: bool, empty: bool) -> None:
        """What was not durable is there up to some byte; perhaps the file is as long as it was to be, or the next
        segment was made and is empty."""
        assert self.journal is not None
        self.end_writing()
        self.journal.close()
        self.journal = None
        self.late.clear()
        pending = self.model.lines[self.model.durable :]
        kept = round(part * sum(at.length for _, at in pending))
        for number, (_, at) in enumerate(pending):
            if kept < at.length:
                del self.model.lines[self.model.durable + number :]
                self._cut(at.segment, at.offset + kept, zeros=zeros, empty=empty)
                break
            kept -= at.length
        self.model.durable = len(self.model.lines)

    def _cut(self, segment: int, size: int, *, zeros: bool, empty: bool) -> None:
        for later in segments_of(self.folder):
            if later > segment or (later == segment > 1 and not size and not empty):
                segment_path(self.folder, later).unlink()
        path = segment_path(self.folder, segment)
        if path.exists():
            whole = path.stat().st_size
            os.truncate(path, size)
            # A break alone that became a zero is told as damage: nobody can tell it from a changed byte.
            if zeros and whole - size > 1:
                os.truncate(path, whole)

    # -- damage --------------------------------------------------------------------------------------------------

    @precondition(lambda self: is_closed(self) and self.model.lines)
    @rule(pick=st.integers(0, 100), part=PARTS, mask=st.integers(1, 255), is_break=st.booleans())
    def change_a_byte(self, pick: int, part: float, mask: int, is_break: bool) -> None:
        """Of what was durable, anywhere: whoever opens it is told where, and changes nothing. Then it is restored."""
        segments = sorted({at.segment for _, at in self.model.lines})
        path = file_of(self.folder, segments[pick % len(segments)])
        places = [at for _, at in self.model.lines if at.segment == segments[pick % len(segments)]]
        content, times = path.read_bytes(), path.stat()
        is_plain = path.suffix == ".jsonl"
        changed = int(part * (places[-1].end if is_plain else len(content)))
        if is_plain and is_break:
            changed = places[int(part * len(places))].end - 1
        path.write_bytes(content[:changed] + bytes([content[changed] ^ mask]) + content[changed + 1 :])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9))  # not a disk that hides it: that is known
        try:
            if is_plain:
                number = sum(at.end <= changed for at in places)
                self._is_told(path, number, places[number])
            else:
                self._is_told_or_harmless(path)
        finally:
            path.write_bytes(content)

    def _is_told(self, path: Path, number: int, place: Location) -> None:
        """At every opening; of a line behind a snapshot, in a segment that has grown since, when it is read."""
        damaged = path.read_bytes()
        opens: tuple[Callable[[Path], object], ...] = (open_for_reading, self._open_for_writing)
        if self._may_be_behind_a_snapshot(place):
            opens = (self._open_and_read(place),)
        for opened in opens:
            with pytest.raises(RunFolderError) as told:
                opened(self.folder)
            assert (told.value.file, told.value.line) == (str(path), number + 1)
        assert path.read_bytes() == damaged

    def _open_and_read(self, place: Location) -> Callable[[Path], object]:
        def read(folder: Path) -> None:
            with contextlib.closing(open_for_reading(folder)) as journal:
                self.model.check(journal)
                journal.reader.read(place)

        return read

    def _may_be_behind_a_snapshot(self, place: Location) -> bool:
        with contextlib.suppress(OSError):
            facts = snapshots.read_facts(self.folder)
            end = Location(*facts["end"]) if facts is not None else place
            grown = file_of(self.folder, end.segment).stat().st_size > end.end
            return grown and place.segment == end.segment and place.offset < end.offset
        return False

    def _open_for_writing(self, folder: Path) -> None:
        open_for_writing(folder, clock=ManualClock(), emit=lambda committed: None)

    def _is_told_or_harmless(self, path: Path) -> None:
        """A few bits of a compressed file say nothing of what is in it."""
        told = ""
        try:
            journal = open_for_reading(self.folder)
        except RunFolderError as error:
            told = error.file or "nothing"
        else:
            self.model.check(journal)
            journal.close()
        assert told in {"", str(path)}

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_files_hold_what_is_durable_and_no_more(self) -> None:
        if self.folder.exists():
            texts = list(scan(self.folder, segments_of(self.folder)))
            self.model.check_texts(texts, many=self.model.durable)

    @precondition(lambda self: self.folder.exists())
    @rule()
    def look(self) -> None:
        """Somebody else, who changes nothing, sees what is durable; each line is found by its place."""
        journal = open_for_reading(self.folder)
        seen = Model(lines=self.model.lines[: self.model.durable])
        seen.check(journal)
        texts = [(at, journal.reader.read_text(at)) for _, at in seen.lines]
        seen.check_texts(texts)
        journal.close()

    @precondition(lambda self: is_open(self) and not self.late)
    @rule()
    def know(self) -> None:
        """Who writes knows all that it has given, durable or not."""
        assert self.journal is not None
        self.model.check(self.journal)

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=40, stateful_step_count=30)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_the_same_for_longer() -> None:
    """Many lives, and long ones."""
    run_state_machine_as_test(JournalMachine, settings=settings(max_examples=1500, stateful_step_count=60))
