"""What is to be submitted, and what follows from it alone: hashes, settings, the price, whether the budget covers it.

It reads the dataset's files and calls the check that it is given; it sends nothing and writes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from tunemill.errors import RecipeError, RunFolderError
from tunemill.files import sha256_of
from tunemill.finetune import preflight
from tunemill.finetune.decide import Dataset, OverBudget
from tunemill.finetune.recognise import upload_name
from tunemill.finetune.record import DataFile, Destination, Estimate, FineTuneRecord, Settings
from tunemill.model import Picodollars, usd
from tunemill.recipe.sections import FineTuneSection


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOrder:
    """What is to be submitted.

    `price_per_token` (of one trained token) is None where it is unknown, `budget_left` None where there is no budget.
    `budget_left` is what generation and evaluation left; what this run's fine-tuning jobs cost is subtracted here.
    """

    run: str
    section: FineTuneSection
    destination: Destination
    train: Path
    validation: Path | None
    price_per_token: Picodollars | None
    budget_left: Picodollars | None


def dataset_of(order: SubmitOrder) -> Dataset:
    """The dataset as it lies in the run folder; raises `RunFolderError` where it does not."""
    validation = None if order.validation is None else _data_file(order.run, "validation", order.validation)
    return Dataset(train=_data_file(order.run, "train", order.train), validation=validation)


def _data_file(run: str, role: preflight.Role, path: Path) -> DataFile:
    try:
        sha256, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise RunFolderError(
            f"cannot be read ({error.strerror})", mend="run `tunemill build` first", file=path
        ) from error
    return DataFile(role=role, name=upload_name(run, role, sha256), sha256=sha256, size=size)


def settings_of(section: FineTuneSection) -> Settings:
    """The recipe's section as it is sent and recorded."""
    names = ("n_epochs", "batch_size", "learning_rate_multiplier", *(("beta",) if section.method == "dpo" else ()))
    chosen = {name: value for name in names if (value := getattr(section, name)) != "auto"}
    return Settings(
        model=section.model,
        method=section.method,
        hyperparameters=chosen,
        suffix=section.suffix or "",
        seed=section.seed,
        wandb_project=section.wandb_project or "",
    )


def valid_report(order: SubmitOrder, check: preflight.Check) -> preflight.CheckedFile:
    """Check the files; raises `RunFolderError` where a target would refuse them."""
    report = check(order.train, "train")
    preflight.require_valid(order.train, report)
    preflight.require_enough(order.train, report)
    if order.validation is not None:
        preflight.require_valid(order.validation, check(order.validation, "validation"))
    return report


def estimate_of(order: SubmitOrder, report: preflight.CheckedFile) -> Estimate:
    """What training is expected to cost."""
    n_epochs = order.section.n_epochs
    return Estimate(
        examples=report.examples,
        tokens=report.tokens,
        epochs=preflight.epochs_of(n_epochs, report.examples),
        epochs_assumed=n_epochs == "auto",
        price_per_token=order.price_per_token,
    )


def assumptions_of(estimate: Estimate) -> tuple[str, ...]:
    """What a person should know about the estimate."""
    if not estimate.epochs_assumed:
        return ()
    cost = estimate.cost()
    dollars = "" if cost is None else f" (${usd(cost):.4f})"
    return (
        f'n_epochs = "auto": the target chooses; the price{dollars} assumes {estimate.epochs} epochs for '
        f"{estimate.examples} examples",
    )


def shortfall(order: SubmitOrder, record: FineTuneRecord, estimate: Estimate) -> OverBudget | None:
    """What is missing, if there is a budget and it is short. An unknown price is no price of zero."""
    if order.budget_left is None:
        return None
    cost = estimate.cost()
    spent = record.committed(order.price_per_token, simulated=order.destination.simulated)
    if cost is None or spent is None:
        raise RecipeError(
            "the training price of this model is unknown, and there is a budget",
            mend=f'set training_per_million under [pricing."{order.section.model}"], or take [budget] out',
            key="fine_tune.model",
            value=order.section.model,
        )
    left = order.budget_left - spent
    return OverBudget(record=record, cost=cost, left=left) if cost > left else None
