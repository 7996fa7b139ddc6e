"""The stages that talk to a target, each by itself on a run folder: submit, watch, cancel."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from tunemill.app.open_run import RecordedRun
from tunemill.app.prices import training_price
from tunemill.app.recorded import budget_of, is_simulated
from tunemill.app.tuning import Tuning, tuning
from tunemill.clock import Clock, SystemClock
from tunemill.events import Event
from tunemill.finetune.decide import SubmitResult
from tunemill.local.child import LocalServerChild
from tunemill.model import picodollars
from tunemill.settings import ProviderAccess, access_to


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
