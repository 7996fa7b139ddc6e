"""A run that is only looked at, and its dataset made anew: what needs the run folder and nobody else."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tunemill.app.dataset import build_dataset, dataset_on_record
from tunemill.app.figures import figures_on_record, with_stages
from tunemill.app.folder import RunFolder
from tunemill.app.open_run import RecordedRun, reading
from tunemill.app.prices import training_price
from tunemill.clock import Clock, SystemClock
from tunemill.dataset import BuildResult
from tunemill.finetune.record import FineTuneRecord
from tunemill.finetune.store import load
from tunemill.model import Picodollars, picodollars
from tunemill.recipe import Recipe
from tunemill.statistics import RunStatistics


def statistics_of(run: RecordedRun, environment: Mapping[str, str]) -> RunStatistics:
    """The figures of a run from its folder alone, training included."""
    recipe = run.loaded.recipe
    statistics = figures_on_record(recipe.name, run.journal, is_running=run.folder.is_in_use, budget=budget_of(recipe))
    record = load(run.folder.path, recipe.name)
    fine_tune = record.summary() if record.current is not None else None
    training = training_of(run, record, environment) or 0
    money = replace(statistics.money, settled=statistics.money.settled + training)
    return with_stages(replace(statistics, money=money), dataset=dataset_on_record(run.folder), fine_tune=fine_tune)


def training_of(run: RecordedRun, record: FineTuneRecord, environment: Mapping[str, str]) -> Picodollars | None:
    """What the run's fine-tuning jobs cost or may cost; None where that cannot be told."""
    price = training_price(run.loaded.recipe, environment)
    return record.committed(None if price is None else price.training, simulated=is_simulated(run))


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
