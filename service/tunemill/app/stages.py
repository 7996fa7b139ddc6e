"""The stages after generation, each by itself on a run folder: status, build, submit, watch, cancel."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

from tunemill.app.dataset import build_dataset, dataset_on_record
from tunemill.app.figures import figures_on_record, with_stages
from tunemill.app.folder import RunFolder
from tunemill.app.open_run import RecordedRun, reading
from tunemill.app.prices import training_price
from tunemill.app.tuning import Tuning, record_of, tuning
from tunemill.clock import Clock, SystemClock
from tunemill.dataset import BuildResult
from tunemill.events import Event
from tunemill.finetune.decide import SubmitResult
from tunemill.local.child import LocalServerChild
from tunemill.model import Picodollars, picodollars
from tunemill.recipe import Recipe
from tunemill.settings import ProviderAccess, access_to
from tunemill.statistics import RunStatistics


def statistics_of(run: RecordedRun) -> RunStatistics:
    """The figures of a run from its folder alone."""
    recipe = run.loaded.recipe
    statistics = figures_on_record(recipe.name, run.journal, is_running=run.folder.is_in_use, budget=budget_of(recipe))
    record = record_of(run.folder, recipe.name)
    fine_tune = record.summary() if record.current is not None else None
    return with_stages(statistics, dataset=dataset_on_record(run.folder), fine_tune=fine_tune)


def budget_of(recipe: Recipe) -> Picodollars | None:
    """The recipe's budget."""
    return None if recipe.budget is None else picodollars(recipe.budget.usd)


def is_simulated(run: RecordedRun) -> bool:
    """Whether the embedded server gave the answers."""
    opened = run.journal.totals.opened
    return bool(opened and opened.simulated)


@contextlib.contextmanager
def locked(folder: RunFolder) -> Iterator[RecordedRun]:
    """Read a run whose folder nobody else writes to meanwhile. Raises RunFolderBusy."""
    lock = folder.lock()
    try:
        with reading(folder) as run:
            yield run
    finally:
        lock.release()


def rebuild(folder: RunFolder, clock: Clock | None = None) -> BuildResult:
    """`build`: the dataset from the journal as it is, by the recipe as last run."""
    with locked(folder) as run:
        statistics = figures_on_record(
            run.loaded.recipe.name, run.journal, is_running=False, budget=budget_of(run.loaded.recipe)
        )
        built = build_dataset(
            run.loaded,
            run.journal,
            folder,
            steps=run.steps,
            statistics=statistics,
            clock=clock or SystemClock(),
            anew=True,
        )
    assert built is not None
    return built


@asynccontextmanager
async def reachable(
    run: RecordedRun, environment: Mapping[str, str], *, backend: str = "llama"
) -> AsyncIterator[Callable[[str], ProviderAccess]]:
    """How to reach a run's providers; for a simulated run that is the embedded server again."""
    recipe = run.loaded.recipe
    if not is_simulated(run):
        yield lambda name: access_to(recipe, name, environment)
        return
    async with LocalServerChild(["--backend", backend]) as server:
        here = ProviderAccess(base_url=server.base_url, api_key="local")
        yield lambda _: here


@asynccontextmanager
async def tuning_of(
    run: RecordedRun, environment: Mapping[str, str], emit: Callable[[Event], None], clock: Clock | None = None
) -> AsyncIterator[Tuning]:
    """The fine-tuning stage of a run that exists."""
    async with (
        reachable(run, environment, backend="simulator") as access,
        tuning(
            run.loaded,
            run.folder,
            access=access,
            simulated=is_simulated(run),
            price=training_price(run.loaded.recipe, environment),
            clock=clock or SystemClock(),
            emit=emit,
        ) as stage,
    ):
        yield stage


async def submit_run(run: RecordedRun, stage: Tuning, *, again: bool, budget_usd: float | None) -> SubmitResult:
    """`submit`: within what generation left of the budget."""
    totals = run.journal.totals
    cap = picodollars(budget_usd) if budget_usd is not None else budget_of(run.loaded.recipe)
    left = None if cap is None else cap - totals.settled - totals.uncertain - totals.reserved
    return await stage.submit(budget_left=left, again=again)
