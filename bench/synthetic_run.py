"""Makes the run folder of a run with many rows through the real classes, without a network: what the run itself costs
on its journal's side, and something large to open, resume and build from.

    python -m bench.synthetic_run RECIPE RUN ROWS [--killed]

Works off the first ROWS rows. With --killed it ends as kill -9 would end it, without a last word; else as a run
does that was seen through. Prints one line of JSON.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import orjson

from tunemill.app.folder import RunFolder
from tunemill.app.open_run import OpenRecipe, OpenRun, open_recipe, writing_to
from tunemill.app.recorder import JournalRecorder
from tunemill.app.settled import mark_of
from tunemill.app.unchanged import inputs_of
from tunemill.clock import SystemClock
from tunemill.engine import Settled
from tunemill.engine.settled import SettledRows
from tunemill.events import Event, JournalCommitted
from tunemill.journal import Completed, Ended, Mark, Sent, SnapshotKeeper
from tunemill.model import Request, Usage
from tunemill.plan import Unsendable

P = ParamSpec("P")
T = TypeVar("T")
HALTS_A_SNAPSHOT = 3
AT_ONCE = 256  # rows whose lines are written together, as a run with so many requests under way does
ANSWER = (
    b'{"id":"chatcmpl-%d","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Case %d: a red cat waits in the rain; nobody else does. '
    b'It waits for the baker, who is late, and for the smell of the first loaves in the dark."},'
    b'"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":20,"completion_tokens":40,"total_tokens":60}}'
)
RESERVED, COST = 30_000_000, 27_000_000


class SyntheticRun:
    """One process's work, and what it took."""

    def __init__(self, opened: OpenRecipe, run: OpenRun, inputs: str) -> None:
        self._opened = opened
        self._run = run
        self._inputs = inputs
        self._recorder = JournalRecorder(run.journal, run.writer, clock=SystemClock(), steps=opened.steps)
        self._settled = SettledRows(1, Settled())
        self._is_whole = False
        self.stalls: list[float] = []
        index = run.journal.index  # whatever the event loop waits for is measured from outside
        run.journal.draft = self._timed(run.journal.draft)  # type: ignore[method-assign] # timed, as it is
        index.write_waiting = self._timed(index.write_waiting)  # type: ignore[method-assign] # timed, as it is
        index.write_through = self._timed(index.write_through)  # type: ignore[method-assign] # timed, as it is
        run.journal.mark_now = self._mark

    async def work(self, rows: int) -> None:
        """Everything up to the last row, durable."""
        numbered = enumerate(self._opened.source.rows())
        for number, row in numbered:
            if number >= rows:
                break
            request = self._opened.planner.render(0, row, 0, {})
            assert not isinstance(request, Unsendable)
            self._recorder.row(number, row)
            self._settled.began(row.id, number, number)
            self._answer(number, request)
            if number % AT_ONCE == AT_ONCE - 1:
                await self._run.writer.flush()
        await self._run.writer.flush()

    def end(self, rows: int) -> None:
        """Seen through."""
        self._recorder.source_ended(rows)
        self._is_whole = True
        ended = Ended(at=1.0, state="finished", reason="everything is answered", inputs=self._inputs, rows=rows)
        self._run.journal.add(ended, self._run.writer.append(ended))

    def _answer(self, number: int, request: Request) -> None:
        journal, writer = self._run.journal, self._run.writer
        sent = Sent(
            at=1.0,
            request=request.id,
            row=request.row_id,
            step=request.step,
            sample=0,
            attempt=1,
            reserved=RESERVED,
            path=request.path,
            body=orjson.Fragment(request.body),
        )
        journal.add(sent, writer.append(sent))
        completed = Completed(
            at=1.0,
            request=request.id,
            row=request.row_id,
            step=request.step,
            sample=0,
            attempt=1,
            cost=COST,
            outcome="stop",
            usage=Usage(input=20, output=40),
            duration_s=0.5,
            provider_request_id=f"req_{number:032x}",
            answer=orjson.Fragment(ANSWER % (number, number)),
        )
        journal.add(completed, writer.append(completed))
        self._settled.completed(request.row_id, request.step)

    def _mark(self) -> Mark:
        settled = self._settled.now(is_whole=self._is_whole)
        return mark_of(settled, inputs=self._inputs, rows=self._opened.source.count(), answers=settled.completed)

    def _timed(self, work: Callable[P, T]) -> Callable[P, T]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.stalls.append(time.perf_counter() - started)

        return timed


async def make(recipe: Path, folder: Path, rows: int, *, killed: bool) -> Mapping[str, object]:
    """Make the folder; what that took. Does not return where it is killed."""
    opened = open_recipe(recipe, os.environ, budget_usd=None)
    inputs = inputs_of(opened, None)
    run_folder = RunFolder(folder)
    run_folder.make()
    commits: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, JournalCommitted):
            commits.append(event.seconds)

    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(
            writing_to(
                run_folder,
                opened,
                rows=opened.source.count(),
                simulated=False,
                clock=SystemClock(),
                emit=note,
                inputs=inputs,
            )
        )
        keeper = SnapshotKeeper(run.journal, run.writer)
        made = SyntheticRun(opened, run, inputs)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run.writer.run())
            keeping = tasks.create_task(keeper.run())
            await made.work(rows)
            seconds = time.perf_counter() - started
            if killed:
                _print(rows, seconds, made.stalls, commits, None)
                os._exit(0)
            made.end(rows)
            keeper.close()
            await keeping
            run.writer.close()
        closing = time.perf_counter()
        stack.close()
        return _print(rows, seconds, made.stalls, commits, time.perf_counter() - closing)


def _print(
    rows: int, seconds: float, stalls: Sequence[float], commits: Sequence[float], closing_s: float | None
) -> Mapping[str, object]:
    figures = {
        "rows": rows,
        "seconds": seconds,
        "snapshots": len(stalls) // HALTS_A_SNAPSHOT,
        "stall_s_max": max(stalls, default=0.0),
        "commit_s_median": statistics.median(commits),
        "commit_s_p99": sorted(commits)[int(len(commits) * 0.99)],
        "commit_s_max": max(commits),
        "closing_s": closing_s,
        "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--killed", action="store_true")
    given = parser.parse_args()
    asyncio.run(make(given.recipe, given.run, given.rows, killed=given.killed))
