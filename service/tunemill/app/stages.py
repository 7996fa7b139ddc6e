"""The stages that talk to a target, each by itself on a run folder: submit, watch, cancel."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tunemill.app.open_run import RecordedRun
from tunemill.app.prices import training_price
from tunemill.app.providers import Access, reachable
from tunemill.app.recorded import budget_of, is_simulated
from tunemill.app.tuning import Tuning, tuning
from tunemill.clock import Clock, SystemClock
from tunemill.errors import RunFolderError
from tunemill.events import Event
from tunemill.finetune.decide import SubmitResult
from tunemill.finetune.record import Outcome
from tunemill.finetune.store import FILE_NAME, load
from tunemill.model import picodollars


def reaching(run: RecordedRun, environment: Mapping[str, str], *, backend: str) -> AbstractAsyncContextManager[Access]:
    """How to reach the provider that tunes; for a simulated run that is the embedded server again."""
    recipe = run.loaded.recipe
    name = recipe.fine_tune.provider if recipe.fine_tune else ""
    return reachable(recipe, [name], environment, local=backend if is_simulated(run) else None)


@asynccontextmanager
async def tuning_of(
    run: RecordedRun, environment: Mapping[str, str], emit: Callable[[Event], None], clock: Clock | None = None
) -> AsyncIterator[Tuning]:
    """The fine-tuning stage of a run that exists."""
    async with (
        reaching(run, environment, backend="simulator") as access,
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


def check_target_lives(run: RecordedRun) -> None:
    """Raises RunFolderError where the job that is to be followed went with the embedded server that made it up."""
    current = load(run.folder.path, run.loaded.recipe.name).current
    if is_simulated(run) and current is not None and current.may_exist and not isinstance(current.progress, Outcome):
        raise RunFolderError(
            f"fine-tuning job {current.job_id} was simulated, and is gone with the server that was started for it",
            mend="run the recipe with --local again, which makes another one and follows it to its end",
            file=run.folder.path / FILE_NAME,
        )


async def submit_run(run: RecordedRun, stage: Tuning, *, again: bool, budget_usd: float | None) -> SubmitResult:
    """`submit`: within what generation left of the budget."""
    totals = run.journal.totals
    cap = picodollars(budget_usd) if budget_usd is not None else budget_of(run.loaded.recipe)
    left = None if cap is None else cap - totals.settled - totals.uncertain - totals.reserved
    return await stage.submit(budget_left=left, again=again)
