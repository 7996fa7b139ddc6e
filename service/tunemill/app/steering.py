"""What a person may do to a run under way: pause it, go on, tune its limits and budget, have its recipe read again.

Nothing of it is remembered: the next process goes by the recipe alone, which is the one place where a person looks for
what a run will do. Only the run folder's copy of the recipe, which says how the run went, gets the budget in force.
"""

import asyncio
import resource
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tunemill.app.generate import FILES_BESIDE_CONNECTIONS, Generation
from tunemill.app.open_run import OpenRecipe, OpenRun, with_budget
from tunemill.app.reload import check_fits_budget, opened_by, read_again, steps_that_changed
from tunemill.app.run_stages import RunStages
from tunemill.engine import LaneLimits, in_flight_most
from tunemill.errors import ArgumentError
from tunemill.files import raise_open_files_limit, write_whole
from tunemill.model import Lane, Picodollars, RunState, picodollars, usd
from tunemill.recipe import LoadedRecipe, Recipe, write_snapshot

TUNABLE = ("requests_per_minute", "tokens_per_minute", "concurrency")
NOT_REMEMBERED = "in force until this process ends; the recipe is untouched, and the next `run` goes by it"
_OVER = "the run is ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is to be another; None leaves it. `model` narrows the limits down to one model (or provider/model)."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None
    budget_usd: float | None = None
    model: str | None = None

    @property
    def has_limits(self) -> bool:
        """Whether there is a limit among it."""
        return any(getattr(self, name) is not None for name in TUNABLE)

    def of(self, limits: LaneLimits) -> LaneLimits:
        """These limits, with what is to be another."""
        return replace(
            limits,
            requests_per_minute=self.requests_per_minute or limits.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute or limits.tokens_per_minute,
            concurrency=self.concurrency or limits.concurrency,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure before and after: a limit of a model, or budget_usd, whose `model` is "". None is none, or unknown."""

    what: str
    model: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """What came of it: the figures that are others now, and sentences for the person."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


class Steering:
    """The wheel of a run under way. Whatever cannot be done raises UserError, and the run goes on as it was."""

    def __init__(self, stages: RunStages, run: OpenRun, *, budget_usd: float | None) -> None:
        """`budget_usd` is the budget that the command line put in the place of the recipe's."""
        self._stages = stages
        self._run = run
        self._as_read = stages.opened.loaded
        self._budget_usd = budget_usd
        self._tuned_usd: float | None = None
        self._reading = asyncio.Lock()

    # -- pause ---------------------------------------------------------------------------------------------------

    async def pause(self) -> Steered:
        """Send nothing more; when this returns, nothing leaves any more."""
        self._check_not_over()
        stages = self._stages
        if stages.is_tuning:
            raise ArgumentError(
                "the run is at its fine-tuning, which goes on at the target", mend="`tunemill cancel` stops it"
            )
        if stages.is_paused:
            return Steered(notes=("it was paused already",))
        stages.pause("what is in flight arrives and is kept; `tunemill resume` goes on")
        await self._run.writer.flush()  # what was being written down as sent leaves with that
        in_flight = stages.figures.take().requests.in_flight
        return Steered(notes=(f"paused; {in_flight:,} in flight are awaited and kept; `tunemill resume` goes on",))

    def resume(self) -> Steered:
        """Go on, at the paced rate."""
        self._check_not_over()
        if not self._stages.is_paused:
            return Steered(notes=("it was not paused",))
        self._stages.resume()
        return Steered(notes=("it goes on, within its limits",))

    # -- tune ----------------------------------------------------------------------------------------------------

    def tune(self, tuning: Tuning) -> Steered:
        """Other limits and another budget, all of it or nothing."""
        self._check_not_over()
        generation = self._sending() if tuning.has_limits else None
        limits = {} if generation is None else _tuned(generation.dispatcher.limits, tuning)
        if tuning.budget_usd is not None:
            self._check_budget(tuning.budget_usd)
        changes, notes = [], []
        if generation is not None:
            in_force = generation.dispatcher.limits
            _check_open_files({**in_force, **limits})
            changes += _differences(in_force, limits)
            generation.dispatcher.configure(limits)
        if tuning.budget_usd is not None:
            self._tuned_usd = tuning.budget_usd
            change, note = self._change_budget(self._under(tuning.budget_usd))
            changes.append(change)
            notes += [note] if note else []
        return Steered(changes=tuple(changes), notes=(*notes, NOT_REMEMBERED))

    def _check_budget(self, dollars: float) -> None:
        opened = self._under(dollars)
        check_fits_budget(opened, opened.budget)

    def _under(self, dollars: float | None) -> OpenRecipe:
        opened = self._stages.opened
        cap = None if dollars is None else picodollars(dollars)
        return replace(opened, loaded=with_budget(opened.loaded, dollars), budget=cap)

    def _change_budget(self, opened: OpenRecipe) -> tuple[Change, str]:
        """Put it in force, and into the run folder's copy of the recipe: what is made of the run later goes by that."""
        budget = self._stages.budget
        before = budget.cap
        self._stages.opened = opened
        self._write_copy(opened.loaded)
        self._stages.change_budget(opened.budget)
        change = Change(what="budget_usd", model="", before=_usd(before), after=_usd(opened.budget))
        note = ""
        if budget.is_exceeded:
            committed = usd(budget.committed)
            note = f"${committed:g} is committed already: nothing more leaves, and the run ends when all has arrived"
        return change, note

    # -- reload --------------------------------------------------------------------------------------------------

    async def reload(self) -> Steered:
        """The recipe's file as it is now, for everything that has not left."""
        async with self._reading:
            self._check_not_over()
            self._check_something_is_left()
            before = self._as_read
            loaded = await asyncio.to_thread(read_again, before, budget_usd=self._budget_usd)
            opened = opened_by(self._stages.opened, loaded)
            self._check_not_over()
            self._check_something_is_left()
            return self._go_by(before, opened)

    def _go_by(self, before: LoadedRecipe, opened: OpenRecipe) -> Steered:
        self._as_read = opened.loaded
        has_own_budget = opened.recipe.budget != before.recipe.budget
        if has_own_budget:
            self._tuned_usd = None
        elif self._tuned_usd is not None:
            tuned = self._tuned_usd
            opened = replace(opened, loaded=with_budget(opened.loaded, tuned), budget=picodollars(tuned))
        changes, notes = self._change_limits(before.recipe, opened)
        self._stages.opened = opened
        if has_own_budget:
            change, note = self._change_budget(opened)
            changes.append(change)
            notes += [note] if note else []
        else:
            self._write_copy(opened.loaded)
        return Steered(changes=tuple(changes), notes=tuple(notes) or ("nothing in it changes what is sent",))

    def _change_limits(self, before: Recipe, opened: OpenRecipe) -> tuple[list[Change], list[str]]:
        """Limits and templates, at once."""
        names = steps_that_changed(before, opened.recipe)
        generation = self._stages.generation
        anew, changes = 0, []
        if generation is not None:
            in_force = generation.dispatcher.limits
            anew = generation.go_by(before, opened)
            changes = _differences(in_force, generation.dispatcher.limits)
        if not names:
            return changes, []
        self._stages.has_new_templates = True
        answered = self._stages.figures.completed_of(names)
        return changes, _words_of(names, anew, answered)

    # -- what can be done now ------------------------------------------------------------------------------------

    def _check_not_over(self) -> None:
        stages = self._stages
        is_ending = stages.generation is not None and stages.generation.is_ending_early
        if is_ending or stages.figures.state not in {RunState.IDLE, RunState.RUNNING, RunState.PAUSED}:
            raise ArgumentError(_OVER, mend="wait for it, change the recipe, and run it again")

    def _sending(self) -> Generation:
        generation = self._stages.generation
        if generation is None or not generation.is_sending:
            raise ArgumentError(
                f"no requests are being sent ({self._stages.figures.reason})",
                mend="limits can be tuned while there are; the budget alone can be tuned until the run ends",
            )
        return generation

    def _check_something_is_left(self) -> None:
        if self._stages.is_generated:
            raise ArgumentError(
                "everything is sent and answered, and the later stages are under way",
                mend="change the recipe and run it again when this run has ended",
            )

    def _write_copy(self, loaded: LoadedRecipe) -> None:
        write_whole(self._run.folder.recipe, write_snapshot(loaded).encode())


def _tuned(in_force: Mapping[Lane, LaneLimits], tuning: Tuning) -> dict[Lane, LaneLimits]:
    wanted = [lane for lane in in_force if tuning.model in {None, lane.model, _name_of(lane)}]
    if not wanted:
        known = ", ".join(map(_name_of, in_force))
        raise ArgumentError("no step uses this model", mend=f"name one of: {known}", key="--model", value=tuning.model)
    return {lane: tuning.of(in_force[lane]) for lane in wanted}


def _check_open_files(limits: Mapping[Lane, LaneLimits]) -> None:
    """Each request in flight is an open connection."""
    at_once = sum(in_flight_most(of_lane.concurrency) for of_lane in limits.values())
    allowed = raise_open_files_limit(FILES_BESIDE_CONNECTIONS + at_once)
    if allowed != resource.RLIM_INFINITY and allowed < FILES_BESIDE_CONNECTIONS + at_once:
        most = max(1, allowed - FILES_BESIDE_CONNECTIONS)
        raise ArgumentError(
            f"this process may have only {allowed:,} files and connections open",
            mend=f"keep to {most:,} over all models, or start the run with a higher limit (ulimit -n)",
            key="--concurrency",
        )


def _differences(before: Mapping[Lane, LaneLimits], after: Mapping[Lane, LaneLimits]) -> list[Change]:
    return [
        Change(what=name, model=_name_of(lane), before=getattr(before[lane], name), after=getattr(after[lane], name))
        for lane in after
        for name in TUNABLE
        if getattr(before[lane], name) != getattr(after[lane], name)
    ]


def _words_of(names: list[str], anew: int, answered: int) -> list[str]:
    """What a person has to know who improves a prompt in mid-run."""
    steps = ", ".join(names)
    said = [f"what has not left goes by the new {steps}; {anew:,} requests that were made already are made anew"]
    if answered:
        said.append(
            f"{answered:,} answers to the old {steps}, and those in flight, stay; a later `run` of this recipe asks "
            "for them again, and pays for it, unless it is told --keep-existing"
        )
    return said


def _name_of(lane: Lane) -> str:
    return f"{lane.provider}/{lane.model}" if lane.provider else lane.model


def _usd(amount: Picodollars | None) -> float | None:
    return None if amount is None else usd(amount)
