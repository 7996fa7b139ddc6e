"""A run that was killed goes on from its last snapshot: rows that were settled then are not looked at again."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.app.test_unchanged import OPTIONS, ROWS, Run, figures
from tests.support.simulator import Simulator

from tunemill.app.clients import Clients
from tunemill.app.folder import RunFolder
from tunemill.app.settled import rows_of, settled_whole
from tunemill.app.shown import Events
from tunemill.engine import dispatcher
from tunemill.events import Event, RunStarted
from tunemill.journal import Index, Journal, JournalWriter, RequestState, journal, last_mark, open_for_reading
from tunemill.journal.snapshot import Draft, Image
from tunemill.model import Row
from tunemill.sources.table import Table


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator("--latency-s", "0") as running:
        yield running


@pytest.fixture
def killed(tmp_path: Path, server: Simulator, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[Path]]:
    """A run that takes a snapshot every few lines, and where a copy of its folder goes after each: what kill -9 at that
    moment would leave."""
    monkeypatch.setattr(journal, "LINES_DUE_MIN", 12)
    monkeypatch.setattr(dispatcher, "ROOM_BESIDE_CONCURRENCY", 0)
    copies: list[Path] = []
    run = Run(tmp_path, server)
    run.rows.write_text(run.rows.read_text() + run.rows.read_text())  # with copies of rows among them
    run.edit('name = "again"', 'name = "again"\n[limits]\nconcurrency = 3')
    keep = Journal.keep

    def keep_and_copy(self: Journal, draft: Draft, image: Image | None) -> None:
        keep(self, draft, image)
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(run.folder.path, copies[-1], ignore=shutil.ignore_patterns("lock", "*.sock"))

    monkeypatch.setattr(Journal, "keep", keep_and_copy)
    return run, copies


def _no_rows(_: Table) -> Iterator[Row]:
    raise AssertionError("every row was looked at")


def _no_count(_: Index, state: RequestState) -> int:
    raise AssertionError(f"every place was counted that is {state}")


async def test_a_killed_run_goes_on_behind_what_was_settled(
    killed: tuple[Run, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From every snapshot it comes to the same end, pays only for what the journal did not have, and reads no row from
    the beginning."""
    run, copies = killed
    first, _ = await run.again()
    taken = list(copies)
    assert len(taken) > 4
    monkeypatch.setattr(Table, "rows", _no_rows)
    walked = set()
    for copy in taken[:-1]:
        run.folder = RunFolder(copy)
        opened = open_for_reading(run.folder.journal)
        assert opened.mark is not None
        walked.add(opened.mark.walk["walked"])
        has = opened.totals.answers
        opened.close()
        again, sent = await run.again()
        assert sent == first.statistics.requests.planned - has
        assert figures(again)[3]["requests"] == figures(first)[3]["requests"]
        assert again.notes == first.notes
        assert run.seen() is not None
    assert len(walked) > 2


async def test_a_killed_run_goes_on_behind_its_last_mark(
    tmp_path: Path, server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any snapshot it comes to the same end, too, pays only for what the journal does not have, and looks only
    at rows that were not settled when it was last noted which are."""
    monkeypatch.setattr(journal, "LINES_MARKED_MIN", 6)
    monkeypatch.setattr(journal, "_MARK_BYTES_A_LINE", 1000)
    monkeypatch.setattr(dispatcher, "ROOM_BESIDE_CONCURRENCY", 0)
    run = Run(tmp_path, server)
    copies: list[Path] = []
    run.rows.write_text(run.rows.read_text() + run.rows.read_text())  # with copies of rows among them
    run.edit('name = "again"', 'name = "again"\n[limits]\nconcurrency = 3')
    add = Journal.add_mark
    copying: set[asyncio.Task[None]] = set()

    async def copy_when_durable(writer: JournalWriter) -> None:
        await writer.flush()
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(run.folder.path, copies[-1], ignore=shutil.ignore_patterns("lock", "*.sock", ".index*"))

    def add_and_copy(self: Journal, writer: JournalWriter) -> None:
        add(self, writer)
        copying.add(asyncio.get_running_loop().create_task(copy_when_durable(writer)))

    monkeypatch.setattr(Journal, "add_mark", add_and_copy)
    first, _ = await run.again()
    await asyncio.gather(*copying)
    monkeypatch.setattr(Journal, "add_mark", add)
    monkeypatch.setattr(Table, "rows", _no_rows)
    taken, walked = list(copies), set()
    assert len(taken) > 4
    for copy in taken:
        run.folder = RunFolder(copy)
        opened = open_for_reading(run.folder.journal)
        assert opened.mark is not None
        walked.add(opened.mark.walk["walked"])
        has, was_over = opened.totals.answers, opened.totals.ended is not None
        opened.close()
        again, sent = await run.again()
        assert was_over or sent == first.statistics.requests.planned - has
        assert figures(again)[3]["requests"] == figures(first)[3]["requests"]
        assert again.notes == first.notes
    assert len(walked) > 2


async def test_a_run_that_is_killed_after_its_last_word_is_whole(killed: tuple[Run, list[Path]]) -> None:
    """Its last snapshot is from before its last answers; nothing is walked again, and yet all is counted."""
    run, copies = killed
    first, _ = await run.again()
    last_words = {path.name: path.read_bytes() for path in run.folder.journal.glob("*.jsonl")}
    under_way = 0
    for copy in list(copies)[:-1]:
        run.folder = RunFolder(copy)
        mark = last_mark(run.folder.journal)
        assert mark is not None
        under_way += len(mark.walk["unsettled"])
        for name, content in last_words.items():
            (run.folder.journal / name).write_bytes(content)
        again, sent = await run.again()
        assert sent == 0
        assert figures(again)[3]["requests"] == figures(first)[3]["requests"]
    assert under_way


async def test_other_inputs_void_what_was_settled(killed: tuple[Run, list[Path]]) -> None:
    """Also when the process that had them was killed before it took a snapshot of its own."""
    run, copies = killed
    await run.again()
    for copy in list(copies):
        run.folder = RunFolder(copy)
        run.edit("About", "All about")
        await run.again(replace(OPTIONS, limit=3))
        run.edit("All about", "About")
        opened = open_for_reading(run.folder.journal)
        mark = opened.mark
        opened.close()
        result, _ = await run.again()
        assert result.statistics.requests.completed == result.statistics.requests.planned
        assert mark is None or mark.walk["walked"] <= 3


async def test_a_changed_recipe_begins_with_what_was_settled_for_the_other(
    killed: tuple[Run, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many answers there are is known before the walk without a look at every place: the last process's mark tells
    it, whatever its inputs were."""
    run, _ = killed
    first, _ = await run.again()
    monkeypatch.setattr(Index, "slots_in", _no_count)
    started: list[Event] = []
    monkeypatch.setattr(Events, "emit", lambda _, event: started.append(event))
    run.edit("About", "All about")
    await run.again()
    told = next(event for event in started if isinstance(event, RunStarted))
    assert told.requests_completed == first.statistics.requests.completed


async def test_what_was_settled_is_known_from_outside(killed: tuple[Run, list[Path]]) -> None:
    """A finished run's mark says so, and how many rows its source has, for its own inputs alone."""
    run, _ = killed
    await run.again()
    mark = last_mark(run.folder.journal)
    assert mark is not None
    assert rows_of(mark, mark.inputs) == 2 * ROWS
    assert rows_of(mark, "others") is None
    opened = open_for_reading(run.folder.journal)
    settled = settled_whole(opened)
    opened.close()
    assert settled is not None
    assert (settled.positions, settled.duplicates) == (ROWS, ROWS)


async def test_other_options_leave_no_mark(killed: tuple[Run, list[Path]]) -> None:
    """--keep-existing and --retry-failed walk by other rules than the recipe's alone."""
    run, _ = killed
    for options in (replace(OPTIONS, keep_existing=True), replace(OPTIONS, retry_failed=True)):
        await run.again()
        assert last_mark(run.folder.journal) is not None
        await run.again(options)
        assert last_mark(run.folder.journal) is None


async def test_who_has_nothing_to_send_makes_no_client(
    tmp_path: Path, server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is made once, before the first request is put in line; where every row finds its answer, nothing is."""
    run, load, loads = Run(tmp_path, server), Clients.load, list[int]()

    def count_and_load(self: Clients) -> None:
        loads.append(len(loads))
        load(self)

    monkeypatch.setattr(Clients, "load", count_and_load)
    _, sent = await run.again()
    assert (sent > 1, len(loads)) == (True, 1)
    result, sent = await run.again(replace(OPTIONS, keep_existing=True))  # looks at every row
    assert (sent, len(loads)) == (0, 1)
    assert result.statistics.requests.completed == result.statistics.requests.planned
