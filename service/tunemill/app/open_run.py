"""Opens a recipe for work: everything that can be wrong is found here, before anything is sent."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import tunemill
from tunemill.app.folder import RUNS, RunFolder, fit_for
from tunemill.app.prices import PriceBook, price_book
from tunemill.clock import Clock
from tunemill.engine import Step
from tunemill.errors import RecipeError, RunFolderError
from tunemill.events import Event
from tunemill.files import write_whole
from tunemill.journal import Ended, Journal, JournalWriter, Mark, Opened, open_for_reading, open_for_writing
from tunemill.model import Lane, Picodollars, picodollars
from tunemill.plan import Planner
from tunemill.recipe import (
    LoadedRecipe,
    Recipe,
    check_templates_against,
    check_under_budget,
    load_recipe,
    write_snapshot,
)
from tunemill.recipe.sections import BudgetSection
from tunemill.sources import Source, open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecipe:
    """A recipe that is fit to run: its source opens, its templates fit, its prices are known where they have to be."""

    loaded: LoadedRecipe
    source: Source
    planner: Planner
    prices: PriceBook
    budget: Picodollars | None

    @property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return self.loaded.recipe

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps as the engine knows them."""
        return steps_of(self.recipe)


def steps_of(recipe: Recipe) -> tuple[Step, ...]:
    """The steps as the engine knows them."""
    return tuple(
        Step(name=step.name, samples=step.samples, lane=Lane(step.provider, step.model)) for step in recipe.steps
    )


def open_recipe(path: Path, environment: Mapping[str, str], *, budget_usd: float | None) -> OpenRecipe:
    """Load and check. `budget_usd` is a budget that counts instead of the recipe's. Raises UserError."""
    loaded = with_budget(load_recipe(path), budget_usd)
    recipe = loaded.recipe
    usd = recipe.budget.usd if recipe.budget else None
    if usd is not None:
        check_under_budget(loaded)
    check_can_be_written_down(loaded)
    source = open_source(recipe.source, loaded.folder, recipe=loaded.path)
    check_templates_against(loaded.recipe, loaded.path, source.fields)
    return OpenRecipe(
        loaded=loaded,
        source=source,
        planner=Planner(recipe),
        prices=price_book(loaded, environment, has_budget=usd is not None),
        budget=None if usd is None else picodollars(usd),
    )


def check_can_be_written_down(loaded: LoadedRecipe) -> None:
    """A path may hold bytes that are no text, and the run folder's copy of the recipe names the source's folder."""
    try:
        write_snapshot(loaded).encode()
    except UnicodeEncodeError as error:
        raise RecipeError(
            "the name of the folder that it is in is not UTF-8", mend="rename the folder", file=loaded.path
        ) from error


def with_budget(loaded: LoadedRecipe, usd: float | None) -> LoadedRecipe:
    """The recipe under another budget, so that whatever is written of the run knows it; None leaves its own."""
    if usd is None:
        return loaded
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"budget": BudgetSection(usd=usd)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run folder that this process writes to. `before` is how the process before it ended, if on purpose, and `mark`
    how far it had come, where that is known; its inputs may have been others."""

    folder: RunFolder
    journal: Journal
    writer: JournalWriter
    before: Ended | None
    mark: Mark | None


@contextlib.contextmanager
def writing_to(
    folder: RunFolder,
    opened: OpenRecipe,
    *,
    rows: int,
    simulated: bool,
    clock: Clock,
    emit: Callable[[Event], None],
    inputs: str = "",
) -> Iterator[OpenRun]:
    """Lock the folder, replay its journal, and note that this process begins.

    Raises RunFolderBusy, RunFolderUnwritable, and RunFolderError for damage.
    """
    lock = folder.lock()
    try:
        journal, writer, interrupted = open_for_writing(folder.journal, clock=clock, emit=emit)
        try:
            before, mark = journal.totals.ended, journal.mark
            write_whole(folder.recipe, write_snapshot(opened.loaded).encode())
            for line in interrupted:
                journal.add(line, writer.append(line))
            began = Opened(
                at=clock.wall(),
                run=opened.recipe.name,
                version=tunemill.__version__,
                rows=rows,
                places=opened.planner.chain.requests_per_row,
                simulated=simulated,
                inputs=inputs,
            )
            journal.add(began, writer.append(began))
            yield OpenRun(folder=folder, journal=journal, writer=writer, before=before, mark=mark)
        finally:
            journal.close_after(writer)
    finally:
        lock.release()


def run_folder_for(recipe: Recipe, run_dir: Path | None, *, simulated: bool) -> RunFolder:
    """`--run-dir`, or `runs/NAME`; a simulated run has a folder of its own, so that it is never in the way.

    Makes nothing. Raises ArgumentError and RunFolderError where the folder is not fit for this run.
    """
    name = f"{recipe.name}-local" if simulated else recipe.name
    return fit_for(run_dir if run_dir is not None else Path(RUNS) / name, run=recipe.name, simulated=simulated)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run folder that is only read: its recipe as last run, and its journal."""

    folder: RunFolder
    loaded: LoadedRecipe
    journal: Journal

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps as the engine knows them."""
        return steps_of(self.loaded.recipe)


@contextlib.contextmanager
def reading(folder: RunFolder) -> Iterator[RecordedRun]:
    """Open a run folder without changing anything in it. Raises RunFolderError, and RecipeError for its recipe."""
    if not folder.recipe.exists():
        mend = "run the recipe again: it writes its copy anew"
        raise RunFolderError("the run's copy of its recipe is gone", mend=mend, file=folder.recipe)
    loaded = load_recipe(folder.recipe)
    with contextlib.closing(open_for_reading(folder.journal)) as journal:
        yield RecordedRun(folder=folder, loaded=loaded, journal=journal)
