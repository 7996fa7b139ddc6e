"""The main job, in the order in which it happens: open, generate, build, submit, watch, say how it ended.

    open      every mistake is found before anything is sent
    generate  the engine; budget, refusal and interruption end the run here
    build     from what the journal has; skipped where nothing changed
    submit    exactly once
    watch     to the tuned model

Signals: the first one drains (or stops building, or watching), the second one aborts. Either way what arrived is kept.
SIGHUP has the recipe read again. Meanwhile the process answers on the socket in the run folder. When all is over, and
the folder is somebody else's again, the figures may still be served for a while (`linger_s`).
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunemill.app.control import Control
from tunemill.app.folder import RunFolder
from tunemill.app.forecast import expected_costs
from tunemill.app.generate import GenerateOptions
from tunemill.app.notifying import Notifying, notifying, notifying_by
from tunemill.app.open_run import OpenRecipe, OpenRun, open_recipe, run_folder_for, writing_to
from tunemill.app.pilot import pilot_printer, prompt_of, show_pilot
from tunemill.app.providers import reachable
from tunemill.app.run_stages import RunContext, RunStages, Until
from tunemill.app.settled import rows_of
from tunemill.app.shown import Events, ShowOptions, answering, showing
from tunemill.app.steering import Steering
from tunemill.app.tuning import training_committed
from tunemill.app.unchanged import SEEN_THROUGH, inputs_of, is_seen_through, seen_through
from tunemill.clock import Clock, SystemClock, wait_for
from tunemill.errors import FineTuningFailed, RecipeError, RunFolderUnwritable, TunemillError, UserError
from tunemill.journal import Ended, SnapshotKeeper, last_mark
from tunemill.model import RunState
from tunemill.recipe import Recipe
from tunemill.settings import secrets_of
from tunemill.statistics import RunStatistics
from tunemill.telemetry import Display, run_logger

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
    secrets = secrets_of(opened.recipe, environment)
    options = replace(options, show=replace(options.show, secrets=secrets))
    until = _until(options, opened)
    simulated = options.local is not None
    folder = run_folder_for(opened.recipe, options.run_dir, simulated=simulated)
    inputs = inputs_of(opened, options.generate.limit)
    seen = seen_through(folder, inputs, options.generate)
    rows = _rows(opened, options.generate.limit, folder, inputs) if seen is None else seen.rows
    plain = inputs if options.generate.is_plain else ""
    training_committed(  # where the cost of an earlier job cannot be told, that is said before anything is touched
        folder,
        opened.recipe.name,
        opened.prices.training,
        simulated=simulated,
        has_budget=opened.budget is not None,
    )
    notify = notifying_by(opened.recipe, environment, is_rehearsal=simulated)
    providers = _providers_needed(opened.recipe, until)
    reaching = reachable(opened.recipe, providers, environment, local=options.local)
    async with contextlib.AsyncExitStack() as last, reaching as access:
        folder.make()
        events = Events()
        with writing_to(
            folder, opened, rows=rows, simulated=simulated, clock=clock, emit=events.emit, inputs=plain
        ) as run:
            context = RunContext(
                opened=opened,
                run=run,
                rows=rows,
                inputs=plain,
                seen=seen if is_seen_through(seen, run, opened) else None,
                until=until,
                options=options.generate,
                local=options.local,
                access=access,
                expected=partial(expected_costs, opened, environment, limit=options.generate.limit),
                events=events,
                clock=clock,
            )
            return await _MainJob(context, options, inputs, notify).carry_out(last)


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


def _rows(opened: OpenRecipe, limit: int | None, folder: RunFolder, inputs: str) -> int:
    """How many rows there are to work on, after every one of them was read once: now, or by an earlier process."""
    counted = rows_of(last_mark(folder.journal), inputs)
    if counted is not None:
        return counted
    opened.source.check()
    rows = opened.source.count()
    return rows if limit is None else min(rows, limit)


class _MainJob:
    """One process's work on one run: the stages, with what shows them around them, signals, and the ending."""

    def __init__(self, context: RunContext, options: RunOptions, inputs: str, notify: Notifying | None) -> None:
        self._context = context
        self._notify = notify
        self._show = options.show
        self._inputs = inputs
        self._stages = RunStages(context)
        if notify is None and context.opened.recipe.notify is not None:
            variable = context.opened.recipe.notify.webhook_env
            self._stages.notes.append(f"nobody was notified of anything: {variable} is not set")
        steering = Steering(self._stages, context.run, budget_usd=options.budget_usd)
        self._control = Control(steering, self._stages.figures.take, context.events.emit)
        self._working: asyncio.Task[tuple[RunState, str]] | None = None
        self._reloading: set[asyncio.Task[None]] = set()
        self._signals: list[int] = []
        self._was_signalled = asyncio.Event()

    async def carry_out(self, last: contextlib.AsyncExitStack) -> RunResult:
        """Everything. `last` is closed when the run folder is somebody else's again: until then figures are served."""
        context, figures = self._context, self._stages.figures
        show = showing(
            context.opened.recipe.name,
            figures.take,
            options=self._show,
            events=context.events,
            clock=context.clock,
            prompt_of=partial(prompt_of, context.run.journal),
            last=last,
            folder=context.run.folder.path,
            rows=context.rows,
        )
        answer = answering(context.opened.recipe.name, context.run.folder.control, self._control.answer)
        tell = notifying(self._notify, context.run.folder.path, figures.take, context.clock)
        last.enter_context(self._catching_signals())
        async with show as display, tell, _writing(context.run), answer:
            last.push_async_callback(self._linger)
            self._show_pilot(display)
            state, reason = await self._to_the_end()
            self._end(state, reason)
        return RunResult(
            folder=context.run.folder,
            statistics=figures.take(),
            exit_code=self._exit_code(state),
            reason=reason,
            notes=tuple(self._stages.notes),
        )

    def _show_pilot(self, display: Display) -> None:
        if self._context.options.limit is not None:
            simulated = self._context.local is not None
            pilot = show_pilot(self._context.run.journal, pilot_printer(display), simulated=simulated)
            self._context.events.subscribe(pilot)

    async def _to_the_end(self) -> tuple[RunState, str]:
        if self._signals:  # before there was anything to stop
            return RunState.INTERRUPTED, self._stopped_by()
        self._working = asyncio.create_task(self._stages.to_the_end())
        try:
            return await _unwrapped(self._working)
        except asyncio.CancelledError:
            if not self._signals:
                raise
            return RunState.INTERRUPTED, self._stopped_by()
        except FineTuningFailed:
            self._end(RunState.FAILED, "the fine-tuning job failed")
            raise
        except RunFolderUnwritable as error:
            self._stages.figures.state, self._stages.figures.reason = RunState.FAILED, str(error)
            raise
        except TunemillError as error:
            self._end(RunState.REFUSED if error.exit_code == 5 else RunState.FAILED, str(error))
            raise
        except Exception as error:
            figures = self._stages.figures
            figures.state, figures.reason = RunState.FAILED, f"an error in tunemill: {type(error).__name__}"
            raise

    # -- endings -------------------------------------------------------------------------------------------------

    def _end(self, state: RunState, reason: str) -> None:
        if self._stages.figures.state is state:
            return
        self._stages.become(state, reason)
        is_mixed = self._context.options.keep_existing or self._stages.has_new_templates
        is_whole = state in SEEN_THROUGH and not is_mixed
        self._stages.record(
            Ended(
                at=self._context.clock.wall(),
                state=state.value,
                reason=reason,
                inputs=self._inputs if is_whole else "",
                rows=self._context.rows if is_whole else 0,
            )
        )

    async def _linger(self) -> None:
        """Be there for whoever looks only now and then, unless somebody wants the process to be gone."""
        seconds = self._show.linger_s
        if seconds and self._show.listen is not None and not self._signals:
            run_logger(self._context.opened.recipe.name).info("lingering", seconds=seconds)
            await wait_for(self._was_signalled, self._context.clock, seconds)

    def _exit_code(self, state: RunState) -> int:
        if state is RunState.INTERRUPTED and self._signals:
            return 128 + self._signals[0]
        return EXIT_CODES.get(state, 1)

    # -- signals -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """To the very end: what is being written down is written whoever wants to stop by then."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        loop.add_signal_handler(signal.SIGINT, self._signalled, signal.SIGINT)
        loop.add_signal_handler(signal.SIGTERM, self._signalled, signal.SIGTERM)
        if before[signal.SIGHUP] is not signal.SIG_IGN:  # nohup: whoever wants to reload has a command for it
            loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _signalled(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._was_signalled.set()
        generation = self._stages.generation
        if generation is None or not generation.is_sending:
            if self._working is not None:
                self._working.cancel()
        elif len(self._signals) == 1:
            name = _called(number)
            once_more = f"{name} once more stops at once, and what is in flight may be paid for again"
            reason = f"{name}: nothing more is sent; {once_more}"
            self._stages.become(RunState.DRAINING, reason)
            generation.dispatcher.drain(self._stopped_by())
        else:
            self._stages.become(RunState.DRAINING, f"{_called(number)}: stopping at once")
            generation.dispatcher.abort()

    def _stopped_by(self) -> str:
        return f"stopped by {signal.Signals(self._signals[0]).name}"

    def _hung_up(self) -> None:
        if self._working is not None and self._working.done():
            return  # it lingers
        task = asyncio.get_running_loop().create_task(self._reload(), name="reload")
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _reload(self) -> None:
        with contextlib.suppress(UserError):  # it was told to everybody
            await self._control.reload()


def _called(number: signal.Signals) -> str:
    """As whoever sent it knows it."""
    return "Ctrl-C" if number is signal.SIGINT else number.name


@asynccontextmanager
async def _writing(run: OpenRun) -> AsyncIterator[None]:
    """The journal's writer, and whoever takes snapshots of it, from the first line to the last."""
    keeper = SnapshotKeeper(run.journal, run.writer)
    writing, keeping = asyncio.create_task(run.writer.run()), asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        keeper.close()
        await keeping
        run.writer.close()
        await writing


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
