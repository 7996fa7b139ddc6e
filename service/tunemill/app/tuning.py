"""The last stages wired to a run folder and a target: submit the dataset, follow the fine-tuning job, cancel it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from tunemill.app.folder import RunFolder
from tunemill.client.fine_tuning_values import Target
from tunemill.clock import Clock
from tunemill.dataset import FaultKind, Severity, check_file
from tunemill.errors import FineTuningFailed, RecipeError, RunFolderError
from tunemill.events import Event
from tunemill.finetune.cancel import AlreadyEnded, Cancelled, CancelRequested, cancel
from tunemill.finetune.decide import (
    AlreadySubmitted,
    DatasetChanged,
    MadeElsewhere,
    OverBudget,
    SubmitResult,
    Submitted,
)
from tunemill.finetune.order import SubmitOrder
from tunemill.finetune.preflight import CheckedFile, Role
from tunemill.finetune.record import Destination, FineTuneRecord
from tunemill.finetune.store import load
from tunemill.finetune.submit import submit
from tunemill.finetune.watch import Ended, watch
from tunemill.model import Picodollars, usd
from tunemill.pricing import Price
from tunemill.recipe import LoadedRecipe
from tunemill.recipe.sections import FineTuneSection
from tunemill.settings import ProviderAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Everything that is needed to talk to the target about one run."""

    folder: RunFolder
    run: str
    section: FineTuneSection
    access: ProviderAccess
    simulated: bool
    price: Price | None
    target: Target
    clock: Clock
    emit: Callable[[Event], None]

    @property
    def price_per_token(self) -> Picodollars | None:
        """Of one trained token; None where it is not known."""
        return None if self.price is None else self.price.training

    async def submit(self, *, budget_left: Picodollars | None, again: bool) -> SubmitResult:
        """See `tunemill.finetune.submit`."""
        folder = self.folder
        order = SubmitOrder(
            run=self.run,
            section=self.section,
            destination=Destination(base_url=self.access.base_url, simulated=self.simulated),
            train=folder.train,
            validation=folder.validation if folder.validation.exists() else None,
            price_per_token=self.price_per_token,
            budget_left=budget_left,
        )
        return await submit(
            order,
            target=self.target,
            folder=folder.path,
            check=_check(self.section.model),
            clock=self.clock,
            emit=self.emit,
            again=again,
        )

    async def watch(self) -> Ended:
        """See `tunemill.finetune.watch`."""
        return await watch(
            self.folder.path,
            self.run,
            target=self.target,
            price_per_token=self.price_per_token,
            clock=self.clock,
            emit=self.emit,
        )

    async def cancel(self) -> CancelRequested | Cancelled | AlreadyEnded:
        """See `tunemill.finetune.cancel`."""
        return await cancel(
            self.folder.path,
            self.run,
            target=self.target,
            price_per_token=self.price_per_token,
            clock=self.clock,
            emit=self.emit,
        )


@asynccontextmanager
async def tuning(
    loaded: LoadedRecipe,
    folder: RunFolder,
    *,
    access: Callable[[str], ProviderAccess],
    simulated: bool,
    price: Price | None,
    clock: Clock,
    emit: Callable[[Event], None],
) -> AsyncIterator[Tuning]:
    """A connection to the target of a recipe. Raises RecipeError where the recipe has no `[fine_tune]`."""
    from tunemill.client.fine_tuning import FineTuningTarget  # with the SDK, which not every command needs

    section = loaded.recipe.fine_tune
    if section is None:
        raise RecipeError(
            "there is no [fine_tune] table, so there is nothing to submit",
            mend='add one, with at least model = "..."',
            file=loaded.path,
        )
    reach = access(section.provider)
    target = FineTuningTarget(base_url=reach.base_url, api_key=reach.api_key, clock=clock)
    try:
        yield Tuning(
            folder=folder,
            run=loaded.recipe.name,
            section=section,
            access=reach,
            simulated=simulated,
            price=price,
            target=target,
            clock=clock,
            emit=emit,
        )
    finally:
        await target.aclose()


def record_of(folder: RunFolder, run: str) -> FineTuneRecord:
    """What is on record of a run's fine-tuning jobs. Raises RunFolderError where it is damaged."""
    return load(folder.path, run)


def training_committed(
    folder: RunFolder, run: str, price: Price | None, *, simulated: bool, has_budget: bool
) -> Picodollars:
    """What this run's fine-tuning jobs cost or may cost: it counts against the budget like everything else.

    Raises RunFolderError where there is a budget and a job's cost cannot be told: unknown is not zero.
    """
    training = None if price is None else price.training
    committed = record_of(folder, run).committed(training, simulated=simulated)
    if committed is None and has_budget:
        raise RunFolderError(
            "what a fine-tuning job of this run cost is not known, and there is a budget",
            mend="set training_per_million for its model under [pricing], or take [budget] out",
            file=folder.path,
        )
    return committed or 0


def _check(model: str) -> Callable[[Path, Role], CheckedFile]:
    def check(path: Path, role: Role) -> CheckedFile:
        report = check_file(path, model)
        faults = [fault for fault in report.faults if fault.kind.severity is Severity.ERROR]
        if role == "validation":  # which may be small
            faults = [fault for fault in faults if fault.kind is not FaultKind.TOO_FEW]
        return CheckedFile(faults=faults, examples=report.examples, tokens=report.tokens)

    return check


def submission_notes(result: SubmitResult) -> Iterator[str]:
    """What a person should know of a submission, a sentence each."""
    match result:
        case Submitted():
            if result.found:
                yield f"fine-tuning job {result.job_id} had been made before, and only its reply was lost"
            yield from result.warnings
        case AlreadySubmitted():
            yield f"fine-tuning job {result.job_id} was made from this dataset before"
            yield from (f"{name} has changed since then; `submit --again` uses it" for name in result.differences)
        case DatasetChanged():
            yield f"the dataset has changed since fine-tuning job {result.job_id} was made from it"
            yield "nothing was submitted: `tunemill submit RUN --again` makes a second job"
        case MadeElsewhere():
            yield f"a fine-tuning job {result.job_id or '(perhaps)'} was made at {result.base_url}"
            yield "nothing was submitted: `tunemill submit RUN --again` makes another one here"
        case OverBudget():
            left = max(0, result.left)
            yield f"training may cost ${usd(result.cost):.4f}, and ${usd(left):.4f} of the budget is left"
            yield "nothing was submitted: raise the budget and run again"
        case _:
            assert_never(result)


def raise_unless_tuned(ended: Ended) -> None:
    """FineTuningFailed, in the target's words, for a job that ended without a model."""
    outcome = ended.outcome
    if outcome.status != "succeeded":
        said = f": {outcome.error}" if outcome.error else ""
        raise FineTuningFailed(f"fine-tuning job {ended.job_id} ended as {outcome.status}{said}")
