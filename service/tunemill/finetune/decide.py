"""Whether a fine-tuning job may be made, decided from the record and the dataset alone. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from tunemill.finetune.record import (
    Begun,
    DataFile,
    Destination,
    Done,
    FineTuneRecord,
    Outcome,
    Settings,
    Submission,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The files of now."""

    train: DataFile
    validation: DataFile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The job exists and this call saw to it. `found` says that it had been made before and only its reply was lost."""

    record: FineTuneRecord
    job_id: str
    found: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySubmitted:
    """The job for this dataset was made earlier; nothing was sent. `differences` names settings that changed since."""

    record: FineTuneRecord
    job_id: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChanged:
    """A job was made from another dataset; nothing was sent. Hashes are of the training files."""

    record: FineTuneRecord
    job_id: str
    sha256_then: str
    sha256_now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeElsewhere:
    """A job was made, or may have been made (`job_id` is then ""), at another target; nothing was sent."""

    record: FineTuneRecord
    job_id: str
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """Training may cost more than is left of the budget, in picodollars; nothing was sent."""

    record: FineTuneRecord
    cost: int
    left: int


SubmitResult: TypeAlias = Submitted | AlreadySubmitted | DatasetChanged | MadeElsewhere | OverBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """A job is to be made: the number of its submission, and whether it comes on top of one that there is."""

    number: int
    is_again: bool


def decide(
    record: FineTuneRecord, dataset: Dataset, settings: Settings, destination: Destination, *, again: bool
) -> GoOn | AlreadySubmitted | DatasetChanged | MadeElsewhere:
    """What to do, when what an earlier process left open at this target has been settled."""
    current = record.current
    if current is None:
        return GoOn(number=1, is_again=again)
    if not current.may_exist:
        return GoOn(number=current.number, is_again=again or current.is_again)
    if again or _is_void(current, destination):
        return GoOn(number=current.number + 1, is_again=True)
    if not current.destination.is_same_as(destination):
        return MadeElsewhere(record=record, job_id=current.job_id, base_url=current.destination.base_url)
    assert isinstance(current.creation, Done), "what was left open at this target is settled first"
    if (current.train.sha256, _validation_hash(current.validation)) == (
        dataset.train.sha256,
        _validation_hash(dataset.validation),
    ):
        return AlreadySubmitted(
            record=record, job_id=current.job_id, differences=_differences(current.settings, settings)
        )
    return DatasetChanged(
        record=record, job_id=current.job_id, sha256_then=current.train.sha256, sha256_now=dataset.train.sha256
    )


def is_open(submission: Submission | None, destination: Destination) -> bool:
    """Whether this target has to be asked what became of a submission."""
    return (
        submission is not None
        and isinstance(submission.creation, Begun)
        and submission.destination.is_same_as(destination)
    )


def _is_void(current: Submission, destination: Destination) -> bool:
    # A rehearsal never stands in the way of the real thing, and a simulated job dies with its server.
    rehearsed = current.destination.simulated and not destination.simulated
    return rehearsed or (isinstance(current.progress, Outcome) and current.progress.status == "lost")


def _validation_hash(file: DataFile | None) -> str:
    return "" if file is None else file.sha256


def _differences(then: Settings, now: Settings) -> tuple[str, ...]:
    names = ("model", "method", "hyperparameters", "suffix", "seed", "wandb_project")
    return tuple(name for name in names if getattr(then, name) != getattr(now, name))
