"""A build that is stopped half-way: nothing of it is seen, and nobody goes on before its thread has ended."""

import asyncio
import threading
from pathlib import Path

import pytest

from tunemill.app import candidates
from tunemill.app.dataset import BuildStopped, build_dataset
from tunemill.app.figures import figures_on_record
from tunemill.app.open_run import open_recipe, run_folder_for, steps_of, writing_to
from tunemill.app.run_stages import _in_thread
from tunemill.clock import SystemClock
from tunemill.journal import RowSeen

RECIPE = """\
name = "rows"
[source]
kind = "table"
path = "rows.jsonl"
[train]
format = "chat"
user = "{{ question }}"
assistant = "{{ answer }}"
"""


def test_a_build_that_is_stopped_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked at every portion of the rows; what was built before stays as it is; nothing half-made lies about."""
    (tmp_path / "rows.toml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text(
        "".join(f'{{"question": "q{number}", "answer": "a{number}"}}\n' for number in range(20))
    )
    opened = open_recipe(tmp_path / "rows.toml", {}, budget_usd=None)
    folder = run_folder_for(opened.recipe, tmp_path / "run", simulated=False)
    folder.make()
    with writing_to(folder, opened, rows=20, simulated=False, clock=SystemClock(), emit=lambda _: None) as run:

        async def record() -> None:
            writing = asyncio.create_task(run.writer.run())
            for position, row in enumerate(opened.source.rows()):
                line = RowSeen(position=position, row=row.id, fields=row.fields)
                run.journal.add(line, run.writer.append(line))
            await run.writer.flush()
            run.writer.close()
            await writing

        asyncio.run(record())
        statistics = figures_on_record("rows", run.journal, is_running=True, budget=None)
        steps, clock = steps_of(opened.recipe), SystemClock()
        made = build_dataset(opened.loaded, run.journal, folder, steps=steps, statistics=statistics, clock=clock)
        assert made is not None
        before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
        monkeypatch.setattr(candidates, "_SLOTS_AT_ONCE", 1)
        asked = iter(range(100))
        with pytest.raises(BuildStopped):
            build_dataset(
                opened.loaded,
                run.journal,
                folder,
                steps=steps,
                statistics=statistics,
                clock=clock,
                anew=True,
                is_stopped=lambda: next(asked) == 10,
            )
        assert next(asked) == 11
        assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


async def test_whoever_stops_a_thread_waits_for_its_end() -> None:
    """Also whoever asks for it twice: the folder and the journal are not the thread's alone."""
    stopped, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        stopped.wait()
        may_end.wait()
        has_ended.set()

    task = asyncio.create_task(_in_thread(work, stopped))
    await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.to_thread(stopped.wait)
        await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended.is_set()
