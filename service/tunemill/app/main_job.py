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
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunemill.app.folder import RunFolder
from tunemill.app.forecast import expected_costs
from tunemill.app.generate import GenerateOptions
from tunemill.app.open_run import OpenRecipe, OpenRun, open_recipe, run_folder_for, writing_to
from tunemill.app.pilot import pilot_printer, show_pilot
from tunemill.app.providers import reachable
from tunemill.app.run_stages import RunContext, RunStages, Until
from tunemill.app.shown import Events, ShowOptions, showing
from tunemill.app.tuning import training_committed
from tunemill.app.unchanged import SEEN_THROUGH, inputs_of, is_seen_through, seen_through
from tunemill.clock import Clock, SystemClock
from tunemill.errors import FineTuningFailed, RecipeError, RunFolderUnwritable, TunemillError
from tunemill.journal import Ended
from tunemill.model import RunState
from tunemill.recipe import Recipe
from tunemill.statistics import RunStatistics

T = TypeVar("T")


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
    until = _until(options, opened)
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
    providers = _providers_needed(opened.recipe, until)
    async with reachable(opened.recipe, providers, environment, local=options.local) as access:
        folder.make()
        events = Events()
        with writing_to(folder, opened, rows=rows, simulated=simulated, clock=clock, emit=events.emit) as run:
            context = RunContext(
                opened=opened,
                run=run,
                rows=rows,
                seen=seen if is_seen_through(seen, run, opened) else None,
                until=until,
                options=options.generate,
                local=options.local,
                access=access,
                expected=partial(expected_costs, opened, environment, limit=options.generate.limit),
                events=events,
                clock=clock,
            )
            return await _MainJob(context, options.show, inputs).carry_out()


def _until(options: RunOptions, opened: OpenRecipe) -> Until:
    """As far as the recipe goes; a pilot shows answers and makes no fine-tuning job unless it is told to.

    Raises RecipeError where the recipe does not say how to get as far as it is told to.
    """
    recipe = opened.recipe
    if options.until is None:
        if recipe.train is None:
            return Until.GENERATE
        return Until.BUILD if recipe.fine_tune is None or options.generate.limit is not None else Until.TUNED
    for stage, section, name in ((Until.BUILD, recipe.train, "train"), (Until.SUBMIT, recipe.fine_tune, "fine_tune")):
        if options.until >= stage and section is None:
            raise RecipeError(
                f"there is no [{name}] table, and --until {options.until.name.lower()} needs one",
                mend="add one (see `tunemill init`), or stop before",
                file=opened.loaded.path,
            )
    return options.until


def _providers_needed(recipe: Recipe, until: Until) -> set[str]:
    """Whose keys a run needs that goes so far."""
    names = {step.provider for step in recipe.steps}
    return names | ({recipe.fine_tune.provider} if recipe.fine_tune and until >= Until.SUBMIT else set())


def _count(opened: OpenRecipe, limit: int | None) -> int:
    """How many rows there are to work on, after every one of them was read once."""
    opened.source.check()
    rows = opened.source.count()
    return rows if limit is None else min(rows, limit)


class _MainJob:
    """One process's work on one run: the stages, with what shows them around them, signals, and the ending."""

    def __init__(self, context: RunContext, show: ShowOptions, inputs: str) -> None:
        self._context = context
        self._show = show
        self._inputs = inputs
        self._stages = RunStages(context)
        self._working: asyncio.Task[tuple[RunState, str]] | None = None
        self._signals: list[int] = []

    async def carry_out(self) -> RunResult:
        """Everything."""
        context, figures = self._context, self._stages.figures
        show = showing(
            context.opened.recipe.name,
            figures.take,
            options=self._show,
            events=context.events,
            is_ready=lambda: figures.state is RunState.RUNNING,
            clock=context.clock,
        )
        async with show as display, _writing(context.run):
            if context.options.limit is not None:
                printer = pilot_printer(display)
                pilot = show_pilot(context.run.journal, printer, simulated=context.local is not None)
                context.events.subscribe(pilot)
            with self._catching_signals():
                state, reason = await self._to_the_end()
            self._end(state, reason)
        return RunResult(
            folder=context.run.folder,
            statistics=figures.take(),
            exit_code=self._exit_code(state),
            reason=reason,
            notes=tuple(self._stages.notes),
        )

    async def _to_the_end(self) -> tuple[RunState, str]:
        self._working = asyncio.create_task(self._stages.to_the_end())
        try:
            return await _unwrapped(self._working)
        except asyncio.CancelledError:
            if not self._signals:
                raise
            return RunState.INTERRUPTED, f"stopped by {signal.Signals(self._signals[0]).name}"
        except FineTuningFailed:
            self._end(RunState.FAILED, "the fine-tuning job failed")
            raise
        except RunFolderUnwritable:
            self._stages.figures.state = RunState.FAILED
            raise
        except TunemillError as error:
            self._end(RunState.REFUSED if error.exit_code == 5 else RunState.FAILED, str(error))
            raise

    # -- endings -------------------------------------------------------------------------------------------------

    def _end(self, state: RunState, reason: str) -> None:
        if self._stages.figures.state is state:
            return
        self._stages.become(state, reason)
        is_whole = state in SEEN_THROUGH and not self._context.options.keep_existing
        self._stages.record(
            Ended(
                at=self._context.clock.wall(),
                state=state.value,
                reason=reason,
                inputs=self._inputs if is_whole else "",
                rows=self._context.rows if is_whole else 0,
            )
        )

    def _exit_code(self, state: RunState) -> int:
        if state is RunState.INTERRUPTED and self._signals:
            return 128 + self._signals[0]
        return EXIT_CODES.get(state, 1)

    # -- signals -------------------------------------------------------------------------------------------------

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
        generation = self._stages.generation
        if generation is None or generation.dispatcher.is_over:
            assert self._working is not None
            self._working.cancel()
        elif len(self._signals) == 1:
            reason = f"{name}: waiting for what is in flight; once more to stop at once"
            self._stages.become(RunState.DRAINING, reason)
            generation.dispatcher.drain(f"stopped by {name}")
        else:
            generation.dispatcher.abort()


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
