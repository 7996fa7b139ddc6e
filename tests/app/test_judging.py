"""A dataset is the same, byte for byte, whoever judged its candidates, and whatever became of them meanwhile."""

import contextlib
import os
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataset.dataset_support import facts_of
from tests.journal.journal_support import completed, request_id, row, row_id, sent, write

from tunemill.app import candidates
from tunemill.app.candidates import Portion, portions
from tunemill.app.dataset import BuildStopped
from tunemill.app.judging import Task, judge_processes, judged_in_order, spec_of
from tunemill.app.judging.process import JudgeProcess, processes_worth
from tunemill.app.judging.wire import judged_bytes, judged_from
from tunemill.app.open_run import steps_of
from tunemill.dataset import Judged, LeftOut, Limits, Ready, build
from tunemill.errors import RunFolderError
from tunemill.journal import Journal, Line, open_for_reading
from tunemill.journal.compressing import compress_finished
from tunemill.recipe import load_recipe

ROWS = 150
START_S = 120.0  # a machine may be slow
RECIPE = """\
name = "rows"
[source]
kind = "table"
path = "rows.jsonl"
[[steps]]
name = "plot"
model = "m"
samples = 2
prompt = "x"
[clean]
min_chars = 4
max_chars = 60
replace = [{ pattern = "kitten", with = "cat" }]
reject = [{ name = "apology", matches = "(?i)sorry" }]
[train]
user = "{{ first if sample == 0 else row.second }}, {{ entropy[0] }}"
assistant = "{{ plot }}"
validation_fraction = 0.4
"""
RULES = {"apology", "content_filter", "duplicate", "empty", "finish_reason", "refusal", "split_conflict", "too_long",
         "too_short", "unrenderable"}  # fmt: skip
ANSWERS = [
    *({"content": f"A kitten in the rain, number {number}."} for number in range(9)),
    {"content": "So sorry!"},
    {"content": " "},
    {"content": "no"},
    {"content": "word " * 20},
    {"content": None, "refusal": "I will not."},
]


def _lines() -> Iterator[Line]:
    """Rows of few prompts with few answers, so that they meet; some rows lack a field, some answers are none."""
    for number in range(ROWS):
        fields = {"first": f"Tell {number % 11}", "second": f"Tell {number % 7}"}
        if number % 13 == 5:
            del fields["second"]
        yield row(number, fields)
        for sample in range(2):
            key = 2 * number + sample
            name, request = row_id(number), request_id(key)
            reason = {17: "length", 23: "content_filter"}.get(key % 29, "stop")
            choice = {"message": ANSWERS[key * 5 // 3 % len(ANSWERS)], "finish_reason": reason}
            yield replace(sent(key), row=name, request=request, sample=sample)
            answered = completed(key, answer=orjson.dumps({"choices": [choice]}))
            yield replace(answered, row=name, request=request, sample=sample)


@pytest.fixture
async def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A run of which the older part is compressed, to be judged a few rows at a time."""
    monkeypatch.setattr(candidates, "_SLOTS_TOGETHER", 16)
    (tmp_path / "rows.toml").write_text(RECIPE)
    await write(tmp_path / "journal", _lines(), segment_bytes_max=40_000)
    assert compress_finished(tmp_path / "journal")
    loaded = load_recipe(tmp_path / "rows.toml")
    recipe = loaded.recipe
    assert recipe.train is not None
    return Task(
        journal=tmp_path / "journal", steps=steps_of(recipe), recipe=recipe, train=recipe.train, file=loaded.path
    )


class _Building:
    """A build by this process and some others, which are all there when it begins. `before` is called at every portion
    that comes back, with how many came before."""

    def __init__(self, task: Task, *, others: int, before: Callable[[int], None] = lambda number: None) -> None:
        self.processes: Sequence[JudgeProcess] = ()
        self.judged_here = 0
        self.portions = 0
        self._task = task
        self._others = others
        self._before = before

    def into(self, folder: Path) -> dict[str, bytes]:
        """The files that it makes."""
        folder.mkdir()
        task = self._task
        spec = spec_of(task.recipe, task.train, task.file)
        with (
            contextlib.closing(open_for_reading(task.journal)) as journal,
            judge_processes(task, self._others) as self.processes,
        ):
            assert all(process.is_there(START_S) for process in self.processes)
            build(partial(self._judged, journal), folder, spec=spec, facts=facts_of(), monotonic=lambda: 0.0)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def _judged(self, journal: Journal, limits: Callable[[], Limits]) -> Iterator[Judged]:
        judge = self._task.judge_with(journal.reader)

        def here(portion: Portion, limits: Limits) -> Judged:
            self.judged_here += 1
            return judge(portion, limits)

        def check() -> None:
            self._before(self.portions)

        places = portions(journal, self._task.steps)
        for judged in judged_in_order(places, here, self.processes, limits=limits, check=check):
            self.portions += 1
            yield judged


def test_the_files_are_the_same_whoever_judges(task: Task, tmp_path: Path) -> None:
    """This process alone, or with two others; with every way to be left out, and lines that are compressed."""
    alone = _Building(task, others=0).into(tmp_path / "alone")
    rules = Counter(orjson.loads(line)["rule"] for line in alone["rejects.jsonl"].splitlines())
    assert rules.keys() == RULES
    assert alone["train.jsonl"].count(b"\n") > 20 < alone["validation.jsonl"].count(b"\n")
    building = _Building(task, others=2)
    assert building.into(tmp_path / "together") == alone
    assert building.portions - building.judged_here >= 2


def test_what_a_killed_process_had_to_do_is_done_here(task: Task, tmp_path: Path) -> None:
    """In the middle of it: every file is as it would have been."""

    def kill(number: int) -> None:
        (process,) = building.processes
        assert process.pid is not None
        if number == 3:
            os.kill(process.pid, signal.SIGKILL)

    building = _Building(task, others=1, before=kill)
    assert building.into(tmp_path / "killed") == _Building(task, others=0).into(tmp_path / "alone")


def test_a_process_that_cannot_be_started_is_done_without(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build takes longer, and that is all."""

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with judge_processes(task, 1) as (process,):
        assert (process.is_there(0), process.has_room) == (False, False)
        with contextlib.closing(open_for_reading(task.journal)) as journal:
            here, limits = task.judge_with(journal.reader), Limits(rejects={})
            found = judged_in_order(
                portions(journal, task.steps), here, [process], limits=lambda: limits, check=lambda: None
            )
            assert sum(len(judged.records) for judged in found) == 2 * ROWS


def test_damage_is_named_as_ever(task: Task, tmp_path: Path) -> None:
    """A bit that turned in a line that another process reads: file and line, and no file is made."""
    path = max((tmp_path / "journal").glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(at for at, line in enumerate(lines) if line.startswith(b'{"kind":"completed"'))

    def damage(portion: int) -> None:  # when the journal is open
        path.write_bytes(b"".join([*lines[:number], lines[number].replace(b"plot", b"plod"), *lines[number + 1 :]]))

    for others in (0, 1):
        path.write_bytes(b"".join(lines))
        folder = tmp_path / f"with {others}"
        with pytest.raises(RunFolderError) as raised:
            _Building(task, others=others, before=damage).into(folder)
        assert (raised.value.file, raised.value.line) == (str(path), number + 1)
        assert not [*folder.iterdir()]


@pytest.mark.torture
def test_a_build_that_is_stopped_leaves_no_process(task: Task, tmp_path: Path) -> None:
    """Whatever they are doing: they have nothing that would be lost."""

    def stop(number: int) -> None:
        if number == 2:
            raise BuildStopped

    building = _Building(task, others=1, before=stop)
    with pytest.raises(BuildStopped):
        building.into(tmp_path / "stopped")
    for process in building.processes:
        assert process.pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
    assert not [*(tmp_path / "stopped").iterdir()]


def test_a_process_ends_with_whoever_started_it(task: Task) -> None:
    """Its socket ends, which is all that it is told; and the interrupt of a terminal is not for it."""
    process = JudgeProcess(task)
    assert process.pid is not None
    ended = os.pidfd_open(process.pid)
    try:
        assert process.is_there(START_S)
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        assert not select.select([ended], [], [], 0)[0]
        assert os.getpgid(process.pid) != os.getpgid(0)
        process.hang_up()
        assert select.select([ended], [], [], START_S)[0]
    finally:
        os.close(ended)
        process.end()


@pytest.mark.parametrize(
    ("count", "cores", "expected"), [(100, 8, 0), (1_000_000, 1, 0), (1_000_000, 2, 1), (1_000_000, 64, 2)]
)
def test_other_processes_are_started_where_that_is_worth_it(count: int, cores: int, expected: int) -> None:
    """For many candidates, on cores that this process does not need, and not more than it can keep up with."""
    assert processes_worth(count, cores=cores) == expected


TEXT = st.text(st.characters(exclude_categories=[]), max_size=5)
SHOWN = st.none() | st.tuples(st.integers(0, 2**64 - 1), TEXT, TEXT)
SAID = st.fixed_dictionaries({"texts": st.dictionaries(TEXT, TEXT, max_size=2), "fields": st.dictionaries(TEXT, TEXT)})
NUMBER = st.integers(0, 2**40)
READY = st.builds(Ready, NUMBER, TEXT, NUMBER, st.binary(), st.binary(), st.binary(), NUMBER, NUMBER, TEXT, SAID, SHOWN)
LEFT_OUT = st.builds(LeftOut, TEXT, NUMBER, TEXT, st.binary(), SHOWN)


@given(
    records=st.lists(READY | LEFT_OUT, max_size=5),
    finish_reasons=st.dictionaries(st.tuples(TEXT, TEXT), NUMBER, max_size=3),
)
def test_what_is_judged_comes_back_as_it_was(
    records: list[Ready | LeftOut], finish_reasons: dict[tuple[str, str], int]
) -> None:
    """Every field of every record, each of its own kind, also texts that no UTF-8 can hold."""
    judged = Judged(records=records, finish_reasons=finish_reasons)
    back = judged_from(judged_bytes(judged))
    assert back == judged
    assert [type(record) for record in back.records] == [type(record) for record in records]
