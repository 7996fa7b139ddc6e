"""The main job, in the order in which it happens: open, generate, build, submit, watch, say how it ended.

    open      every mistake is found before anything is sent
    generate  the engine; budget, refusal and interruption end the run here
    build     from what the journal has; skipped where nothing changed
    submit    exactly once
    watch     to the tuned model

Signals: the first one drains (or stops watching), the second one aborts. Either way what arrived is kept.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunemill.app.dataset import build_dataset, dataset_on_record, write_failed
from tunemill.app.folder import RunFolder
from tunemill.app.forecast import BudgetWatch, expected_costs
from tunemill.app.generate import GenerateOptions, Generation, connected, live_figures
from tunemill.app.open_run import OpenRecipe, OpenRun, open_recipe, run_folder_for, writing_to
from tunemill.app.pilot import pilot_printer, show_pilot
from tunemill.app.shown import Events, ShowOptions, showing
from tunemill.app.tuning import raise_unless_tuned, submission_notes, training_committed, tuning
from tunemill.app.unchanged import SEEN_THROUGH, inputs_of, is_seen_through, seen_through
from tunemill.clock import Clock, SystemClock
from tunemill.engine import Budget
from tunemill.errors import FineTuningFailed, RecipeError, RunFolderUnwritable, TunemillError
from tunemill.events import DatasetBuilt, Event, FineTuneChanged, RunStarted, StateChanged
from tunemill.finetune.decide import AlreadySubmitted, OverBudget, Submitted
from tunemill.finetune.record import FineTuneRecord
from tunemill.journal import Ended, Line, SourceEnded
from tunemill.local.child import LocalServerChild
from tunemill.model import Picodollars, RunState
from tunemill.settings import ProviderAccess, access_to
from tunemill.statistics import RunStatistics

T = TypeVar("T")


class Until(IntEnum):
    """How far a run goes."""

    GENERATE = 0
    BUILD = 1
    SUBMIT = 2
    TUNED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line says of a run. `local` is the embedded server's backend, or None for the real provider."""

    recipe: Path
    until: Until | None = None
    run_dir: Path | None = None
    budget_usd: float | None = None
    local: str | None = None
    generate: GenerateOptions
    show: ShowOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. `notes` are sentences for the person, `exit_code` is the process's."""

    folder: RunFolder
    statistics: RunStatistics
    exit_code: int
    reason: str
    notes: tuple[str, ...]


EXIT_CODES: Mapping[RunState, int] = {
    RunState.FINISHED: 0,
    RunState.FINISHED_WITH_FAILURES: 4,
    RunState.BUDGET_REACHED: 3,
    RunState.REFUSED: 5,
}


async def run_recipe(options: RunOptions, environment: Mapping[str, str], clock: Clock | None = None) -> RunResult:
    """Do the main job. Raises TunemillError for everything that is not a way to end a run."""
    clock = clock or SystemClock()
    opened = open_recipe(options.recipe, environment, budget_usd=options.budget_usd)
    _check_until(options.until, opened)
    simulated = options.local is not None
    folder = run_folder_for(opened.recipe, options.run_dir, simulated=simulated)
    inputs = inputs_of(opened, options.generate.limit)
    seen = seen_through(folder, inputs, options.generate)
    rows = _count(opened, options.generate.limit) if seen is None else seen.rows
    training_committed(  # where the cost of an earlier job cannot be told, that is said before anything is touched
        folder,
        opened.recipe.name,
        opened.prices.training,
        simulated=simulated,
        has_budget=opened.budget is not None,
    )
    async with _reachable(opened, options.local, environment) as access:
        folder.make()
        events = Events()
        with writing_to(folder, opened, rows=rows, simulated=simulated, clock=clock, emit=events.emit) as run:
            expected = partial(expected_costs, opened, environment, limit=options.generate.limit)
            seen = seen if is_seen_through(seen, run, opened) else None
            return await _MainJob(options, opened, run, rows, inputs, seen, access, expected, events, clock).carry_out()


def _check_until(until: Until | None, opened: OpenRecipe) -> None:
    """Raises RecipeError where the recipe does not say how to get that far."""
    for stage, section, name in (
        (Until.BUILD, opened.recipe.train, "train"),
        (Until.SUBMIT, opened.recipe.fine_tune, "fine_tune"),
    ):
        if until is not None and until >= stage and section is None:
            raise RecipeError(
                f"there is no [{name}] table, and --until {until.name.lower()} needs one",
                mend="add one (see `tunemill init`), or stop before",
                file=opened.loaded.path,
            )


def _count(opened: OpenRecipe, limit: int | None) -> int:
    """How many rows there are to work on, after every one of them was read once."""
    opened.source.check()
    rows = opened.source.count()
    return rows if limit is None else min(rows, limit)


@asynccontextmanager
async def _reachable(
    opened: OpenRecipe, local: str | None, environment: Mapping[str, str]
) -> AsyncIterator[Callable[[str], ProviderAccess]]:
    """How to reach each provider that the recipe names; with `local` that is the embedded server for all of them."""
    if local is not None:
        async with LocalServerChild(["--backend", local]) as server:
            here = ProviderAccess(base_url=server.base_url, api_key="local")
            yield lambda _: here
        return
    recipe = opened.recipe
    names = {step.provider for step in recipe.steps} | ({recipe.fine_tune.provider} if recipe.fine_tune else set())
    found = {name: access_to(recipe, name, environment) for name in sorted(names)}
    yield found.__getitem__


class _MainJob:
    """One process's work on one run."""

    def __init__(
        self,
        options: RunOptions,
        opened: OpenRecipe,
        run: OpenRun,
        rows: int,
        inputs: str,
        seen: Ended | None,
        access: Callable[[str], ProviderAccess],
        expected: Callable[[], Mapping[str, Picodollars]],
        events: Events,
        clock: Clock,
    ) -> None:
        self._options = options
        self._opened = opened
        self._run = run
        self._rows = rows
        self._inputs = inputs
        self._seen = seen
        self._access = access
        self._expected = expected
        self._events = events
        self._clock = clock
        self._simulated = options.local is not None
        self._notes: list[str] = []
        self._signals: list[int] = []
        self._generation: Generation | None = None
        self._stages: asyncio.Task[tuple[RunState, str]] | None = None
        totals = run.journal.totals
        self._training: Picodollars = self._training_committed()
        settled = totals.settled + self._training
        self._budget = Budget(opened.budget, settled=settled, uncertain=totals.uncertain)
        self._figures = live_figures(
            opened,
            run,
            rows=rows if seen is None else totals.walked,
            budget=self._budget,
            simulated=self._simulated,
            clock=clock,
        )

    async def carry_out(self) -> RunResult:
        """Everything, with what shows it around it."""
        figures = self._figures
        figures.dataset = dataset_on_record(self._run.folder)
        show = showing(
            self._opened.recipe.name,
            figures.take,
            options=self._options.show,
            events=self._events,
            is_ready=lambda: figures.state is RunState.RUNNING,
            clock=self._clock,
        )
        async with show as display, _writing(self._run):
            if self._options.generate.limit is not None:
                pilot = show_pilot(self._run.journal, pilot_printer(display), simulated=self._simulated)
                self._events.subscribe(pilot)
            with self._catching_signals():
                state, reason = await self._to_the_end()
            self._end(state, reason)
        return RunResult(
            folder=self._run.folder,
            statistics=figures.take(),
            exit_code=self._exit_code(state),
            reason=reason,
            notes=tuple(self._notes),
        )

    async def _to_the_end(self) -> tuple[RunState, str]:
        self._stages = asyncio.create_task(self._all_stages())
        try:
            return await _unwrapped(self._stages)
        except asyncio.CancelledError:
            if not self._signals:
                raise
            return RunState.INTERRUPTED, f"stopped by {signal.Signals(self._signals[0]).name}"
        except FineTuningFailed:
            self._end(RunState.FAILED, "the fine-tuning job failed")
            raise
        except RunFolderUnwritable:
            self._figures.state = RunState.FAILED
            raise
        except TunemillError as error:
            self._end(RunState.REFUSED if error.exit_code == 5 else RunState.FAILED, str(error))
            raise

    async def _all_stages(self) -> tuple[RunState, str]:
        self._become(RunState.RUNNING, "started")
        state, reason = await self._generate() if self._seen is None else self._as_it_was(self._seen)
        await self._run.writer.flush()  # what follows reads the journal's file
        until = self._until()
        if until >= Until.BUILD and state not in {RunState.INTERRUPTED, RunState.REFUSED}:
            await self._build()
        else:
            write_failed(self._run.journal, self._opened.steps, self._run.folder)
        if until >= Until.SUBMIT and state in SEEN_THROUGH and not await self._tune(until):
            return RunState.BUDGET_REACHED, "training does not fit what is left of the budget"
        return state, reason

    def _until(self) -> Until:
        """As far as the recipe goes; a pilot shows answers and makes no fine-tuning job unless it is told to."""
        recipe = self._opened.recipe
        if self._options.until is not None:
            return self._options.until
        if recipe.train is None:
            return Until.GENERATE
        is_pilot = self._options.generate.limit is not None
        return Until.BUILD if recipe.fine_tune is None or is_pilot else Until.TUNED

    # -- stages --------------------------------------------------------------------------------------------------

    async def _generate(self) -> tuple[RunState, str]:
        opened, figures = self._opened, self._figures
        async with connected(opened.recipe, self._access, self._clock) as executors:
            self._generation = Generation(
                opened,
                self._run,
                executors=executors,
                rows_planned=self._rows,
                options=self._options.generate,
                figures=figures,
                budget=self._budget,
                clock=self._clock,
                emit=self._events.emit,
            )
            self._tell_started()
            await self._look_ahead()
            ending = await self._generation.run()
        self._note_duplicates(self._generation.dispatcher.counts.duplicate_rows)
        return ending.state, ending.reason

    def _as_it_was(self, seen: Ended) -> tuple[RunState, str]:
        """What generating comes to where nothing has changed: no row is looked at."""
        self._tell_started()
        rows = self._run.journal.totals.walked
        self._record(SourceEnded(rows=rows))
        self._note_duplicates(self._rows - rows)
        return RunState(seen.state), seen.reason

    def _tell_started(self) -> None:
        counts = self._figures.take().requests
        self._events.emit(
            RunStarted(
                run=self._opened.recipe.name,
                rows=self._rows,
                requests_planned=counts.planned,
                requests_completed=counts.completed,
                simulated=self._simulated,
            )
        )

    def _note_duplicates(self, rows: int) -> None:
        if rows:
            self._notes.append(f"{rows} rows of the source are exact copies of others and were left out")

    async def _look_ahead(self) -> None:
        """Say before the first request, and from then on, whether the budget will do."""
        self._figures.expect(await asyncio.to_thread(self._expected))
        watch = BudgetWatch(self._figures.take, rows=self._rows, emit=self._events.emit)
        watch.look()
        self._events.subscribe(watch.on_event)

    async def _build(self) -> None:
        built = await asyncio.to_thread(
            build_dataset,
            self._opened.loaded,
            self._run.journal,
            self._run.folder,
            steps=self._opened.steps,
            statistics=self._figures.take(),
            clock=self._clock,
        )
        self._figures.dataset = dataset_on_record(self._run.folder)
        if built is not None:
            made = built.figures
            self._events.emit(
                DatasetBuilt(
                    train=made.train, validation=made.validation, rejected=made.rejected, seconds=built.seconds
                )
            )

    async def _tune(self, until: Until) -> bool:
        """Submit and watch. False where the budget does not cover the training."""
        opened = self._opened
        self._events.subscribe(self._note_tuning)
        async with tuning(
            opened.loaded,
            self._run.folder,
            access=self._access,
            simulated=self._simulated,
            price=opened.prices.training,
            clock=self._clock,
            emit=self._events.emit,
        ) as stage:
            totals, cap = self._run.journal.totals, opened.budget
            left = None if cap is None else cap - totals.settled - totals.uncertain
            result = await stage.submit(budget_left=left, again=False)
            self._settle_tuning(result.record)
            self._notes.extend(submission_notes(result))
            if isinstance(result, Submitted | AlreadySubmitted) and until >= Until.TUNED:
                ended = await stage.watch()
                self._settle_tuning(ended.record)
                raise_unless_tuned(ended)
        return not isinstance(result, OverBudget)

    def _note_tuning(self, event: Event) -> None:
        """The target's last word, for the figures."""
        if isinstance(event, FineTuneChanged) and event.status:
            self._figures.fine_tune = {**(self._figures.fine_tune or {}), "status": event.status}

    def _settle_tuning(self, record: FineTuneRecord) -> None:
        self._figures.fine_tune = record.summary()
        committed = self._training_committed()
        self._budget.settled += committed - self._training
        self._training = committed

    def _training_committed(self) -> Picodollars:
        return training_committed(
            self._run.folder,
            self._opened.recipe.name,
            self._opened.prices.training,
            simulated=self._simulated,
            has_budget=self._opened.budget is not None,
        )

    # -- endings -------------------------------------------------------------------------------------------------

    def _become(self, state: RunState, reason: str) -> None:
        self._figures.state = state
        self._events.emit(StateChanged(state=state, reason=reason))

    def _end(self, state: RunState, reason: str) -> None:
        if self._figures.state is state:
            return
        self._become(state, reason)
        is_whole = state in SEEN_THROUGH and not self._options.generate.keep_existing
        self._record(
            Ended(
                at=self._clock.wall(),
                state=state.value,
                reason=reason,
                inputs=self._inputs if is_whole else "",
                rows=self._rows if is_whole else 0,
            )
        )

    def _record(self, line: Line) -> None:
        self._run.journal.add(line, self._run.writer.append(line))

    def _exit_code(self, state: RunState) -> int:
        if state is RunState.INTERRUPTED and self._signals:
            return 128 + self._signals[0]
        return EXIT_CODES.get(state, 1)

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _signalled(self, number: int) -> None:
        self._signals.append(number)
        name = signal.Signals(number).name
        dispatcher = self._generation.dispatcher if self._generation else None
        if dispatcher is None or dispatcher.is_over:
            assert self._stages is not None
            self._stages.cancel()
        elif len(self._signals) == 1:
            self._become(RunState.DRAINING, f"{name}: waiting for what is in flight; once more to stop at once")
            dispatcher.drain(f"stopped by {name}")
        else:
            dispatcher.abort()


@asynccontextmanager
async def _writing(run: OpenRun) -> AsyncIterator[None]:
    """The journal's writer, from the first line to the last."""
    task = asyncio.create_task(run.writer.run())
    try:
        yield
    finally:
        run.writer.close()
        await task


async def _unwrapped(work: Awaitable[T]) -> T:
    """Await, and raise the one error that a task group's many stand for."""
    try:
        return await work
    except BaseExceptionGroup as group:
        known = group.subgroup(TunemillError)
        first: BaseException = known if known is not None else group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
