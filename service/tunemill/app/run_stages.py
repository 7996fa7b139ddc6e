"""What a run does, stage after stage, once it is open: generate, build, submit and watch. Each can be skipped."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TypeVar

from tunemill.app.dataset import build_dataset, dataset_on_record, write_failed
from tunemill.app.forecast import BudgetWatch, Expected
from tunemill.app.generate import GenerateOptions, Generation, connected, live_figures
from tunemill.app.open_run import OpenRecipe, OpenRun
from tunemill.app.providers import Access
from tunemill.app.shown import Events
from tunemill.app.tuning import raise_unless_tuned, submission_notes, training_committed, tuning
from tunemill.app.unchanged import SEEN_THROUGH
from tunemill.clock import Clock
from tunemill.engine import Budget
from tunemill.events import BudgetChanged, DatasetBuilt, Event, FineTuneChanged, RunStarted, StateChanged
from tunemill.finetune.decide import AlreadySubmitted, OverBudget, Submitted
from tunemill.finetune.record import FineTuneRecord
from tunemill.journal import Ended, Line, SourceEnded
from tunemill.model import Picodollars, RunState

T = TypeVar("T")


class Until(IntEnum):
    """How far a run goes."""

    GENERATE = 0
    BUILD = 1
    SUBMIT = 2
    TUNED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """All that a run's stages work on. `rows` is how many rows there are, `inputs` a fingerprint of all that decides
    the requests ("" where the options have a say in it), `seen` how the run ended if it saw through just these inputs
    before, `local` the embedded server's backend or None, `expected` what answers will cost."""

    opened: OpenRecipe
    run: OpenRun
    rows: int
    inputs: str
    seen: Ended | None
    until: Until
    options: GenerateOptions
    local: str | None
    access: Access
    expected: Callable[[], Expected]
    events: Events
    clock: Clock


class RunStages:
    """The stages and what they share: the figures, the budget, and notes for the person."""

    def __init__(self, context: RunContext) -> None:
        self.notes: list[str] = []
        self.opened = context.opened  # as it was last read
        self.generation: Generation | None = None
        self.is_generated = False
        self.is_tuning = False
        self.has_new_templates = False  # some answers are to what the templates were before
        self._context = context
        self._run = context.run
        self._events = context.events
        totals = context.run.journal.totals
        self._training: Picodollars = self._training_committed()
        settled = totals.settled + self._training
        self.budget = Budget(context.opened.budget, settled=settled, uncertain=totals.uncertain)
        self._budget_watch: BudgetWatch | None = None
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._doing = ""
        self.figures = live_figures(
            context.opened,
            context.run,
            rows=context.rows if context.seen is None else totals.walked,
            budget=self.budget,
            simulated=context.local is not None,
            clock=context.clock,
            is_seen_through=context.seen is not None,
        )
        self.figures.dataset = dataset_on_record(context.run.folder)

    async def to_the_end(self) -> tuple[RunState, str]:
        """As far as the run is to go; gives the state it ends in, with the sentence for it."""
        seen, until = self._context.seen, self._context.until
        state, reason = await self._generate() if seen is None else self._as_it_was(seen)
        self.is_generated = True
        await self._run.writer.flush()  # what follows reads the journal's file
        if until >= Until.BUILD and state not in {RunState.INTERRUPTED, RunState.REFUSED}:
            await self._build()
        else:
            write_failed(self._run.journal, self._context.opened.steps, self._run.folder)
        if until >= Until.SUBMIT and state in SEEN_THROUGH and not await self._tune():
            return RunState.BUDGET_REACHED, "training does not fit what is left of the budget"
        return state, reason

    def become(self, state: RunState, reason: str) -> None:
        """A new state, or a new stage of the same one."""
        if state is RunState.RUNNING:
            self._doing = reason
        self.figures.state, self.figures.reason = state, reason
        self._events.emit(StateChanged(state=state, reason=reason))

    def record(self, line: Line) -> None:
        """Add a line to the journal."""
        self._run.journal.add(line, self._run.writer.append(line))

    # -- steering ------------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether nothing is sent, to whomever, until `resume`."""
        return not self._goes_on.is_set()

    def pause(self, reason: str) -> None:
        """Send nothing more. What works on this machine alone goes on."""
        self._goes_on.clear()
        if self.generation is not None:
            self.generation.dispatcher.pause()
        self.become(RunState.PAUSED, reason)

    def resume(self) -> None:
        """Go on with what it was doing."""
        self._goes_on.set()
        if self.generation is not None:
            self.figures.rested(self.generation.dispatcher.resume())
        self.become(RunState.RUNNING, self._doing)

    def change_budget(self, cap: Picodollars | None) -> None:
        """Another cap, from now on."""
        before = self.budget.cap
        self.budget.change_cap(cap)
        self._events.emit(BudgetChanged(before=before, after=cap))
        if self.generation is not None:
            self.generation.dispatcher.freed()
        if self._budget_watch is not None:
            self._budget_watch.look_again()

    # -- generate ------------------------------------------------------------------------------------------------

    async def _generate(self) -> tuple[RunState, str]:
        context = self._context
        self.become(RunState.RUNNING, "generating")
        async with connected(
            self.opened.recipe,
            context.access,
            context.clock,
            local=context.local,
            processes=context.options.processes,
            gave_up=self._cannot_send,
        ) as sending:
            self.generation = Generation(
                self.opened,
                self._run,
                sending=sending,
                rows_planned=context.rows,
                options=context.options,
                local=context.local,
                figures=self.figures,
                budget=self.budget,
                clock=context.clock,
                emit=self._events.emit,
                inputs=context.inputs,
            )
            if self.is_paused:
                self.generation.dispatcher.pause()
            self._tell_started()
            await self._look_ahead()
            ending = await self.generation.run()
        self._note_duplicates(self.generation.dispatcher.counts.duplicate_rows)
        return ending.state, ending.reason

    def _cannot_send(self, why: str) -> None:
        """Stop as on a signal: what can still arrive is kept."""
        assert self.generation is not None, "nothing is sent before there is one"
        self.become(RunState.DRAINING, why)
        self.generation.dispatcher.drain(why)

    def _as_it_was(self, seen: Ended) -> tuple[RunState, str]:
        """What generating comes to where nothing has changed: no row is looked at."""
        self.become(RunState.RUNNING, "everything was answered before")
        self._tell_started()
        rows = self._run.journal.totals.walked
        self.record(SourceEnded(rows=rows))
        self._note_duplicates(self._context.rows - rows)
        return RunState(seen.state), seen.reason

    def _tell_started(self) -> None:
        counts = self.figures.take().requests
        self._events.emit(
            RunStarted(
                run=self._context.opened.recipe.name,
                rows=self._context.rows,
                requests_planned=counts.planned,
                requests_completed=counts.completed,
                simulated=self._context.local is not None,
            )
        )

    def _note_duplicates(self, rows: int) -> None:
        if rows:
            self.notes.append(f"{rows} rows of the source are exact copies of others and were left out")

    async def _look_ahead(self) -> None:
        """Say before the first request, and from then on, whether the budget will do."""
        expected = await asyncio.to_thread(self._context.expected)
        self.figures.expect(expected.steps)
        if self._context.until >= Until.SUBMIT and not self._training:  # an earlier job's is spent already
            self.figures.training_expected = expected.training
        watch = BudgetWatch(self.figures.take, rows=self._context.rows, emit=self._events.emit)
        watch.look()
        self._events.subscribe(watch.on_event)
        self._budget_watch = watch

    # -- build ---------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        self.become(RunState.RUNNING, "building the dataset")
        stopped = threading.Event()
        building = partial(
            build_dataset,
            self.opened.loaded,
            self._run.journal,
            self._run.folder,
            steps=self.opened.steps,
            statistics=self.figures.take(),
            clock=self._context.clock,
            is_stopped=stopped.is_set,
        )
        built = await _in_thread(building, stopped)
        self.figures.dataset = dataset_on_record(self._run.folder)
        if built is not None:
            made = built.figures
            self._events.emit(
                DatasetBuilt(
                    train=made.train, validation=made.validation, rejected=made.rejected, seconds=built.seconds
                )
            )

    # -- submit and watch ----------------------------------------------------------------------------------------

    async def _tune(self) -> bool:
        """Submit and watch. False where the budget does not cover the training."""
        context, opened = self._context, self.opened
        if self.is_paused:
            self.become(RunState.PAUSED, "before the fine-tuning; `tunemill resume` goes on")
            await self._goes_on.wait()
        self.is_tuning = True
        self.become(RunState.RUNNING, "fine-tuning")
        self._events.subscribe(self._note_tuning)
        async with tuning(
            opened.loaded,
            self._run.folder,
            access=context.access,
            simulated=context.local is not None,
            price=opened.prices.training,
            clock=context.clock,
            emit=self._events.emit,
        ) as stage:
            totals, cap = self._run.journal.totals, self.budget.cap
            left = None if cap is None else cap - totals.settled - totals.uncertain
            result = await stage.submit(budget_left=left, again=False)
            self._settle_tuning(result.record)
            self.notes.extend(submission_notes(result))
            if isinstance(result, Submitted | AlreadySubmitted) and context.until >= Until.TUNED:
                ended = await stage.watch()
                self._settle_tuning(ended.record)
                raise_unless_tuned(ended)
        return not isinstance(result, OverBudget)

    def _note_tuning(self, event: Event) -> None:
        """The target's last word, for the figures."""
        if isinstance(event, FineTuneChanged) and event.status:
            self.figures.fine_tune = {**(self.figures.fine_tune or {}), "status": event.status}

    def _settle_tuning(self, record: FineTuneRecord) -> None:
        self.figures.fine_tune = record.summary()
        committed = self._training_committed()
        self.budget.settled += committed - self._training
        self._training = committed
        if committed:
            self.figures.training_expected = 0

    def _training_committed(self) -> Picodollars:
        opened = self.opened
        return training_committed(
            self._run.folder,
            opened.recipe.name,
            opened.prices.training,
            simulated=self._context.local is not None,
            has_budget=opened.budget is not None,
        )


async def _in_thread(work: Callable[[], T], stopped: threading.Event) -> T:
    """The work's result. Who cancels waits until it has stopped: it reads the journal and writes into the folder, and
    both are somebody else's afterwards."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stopped.set()
        while not working.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({working})
        working.exception()
        raise
