"""What is known of a run's fine-tuning, as values: what was uploaded where, which jobs were made, how they ended.

Every side effect goes through the same states, and each arrow is durable before the next step is taken:

    NotBegun ──> Begun ──> Done        the target answered, or its list shows that it happened
                   │└────> Refused     the target said no: nothing happened
                   └─────> NotBegun    nothing was sent, or the target's list shows, long enough, that nothing happened

After a crash `Begun` means that it may have happened. The record never decides anything and knows no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal, TypeAlias

from tunemill.model import Json, JsonObject, Picodollars, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBegun:
    """Nothing was sent."""

    kind: Literal["not_begun"] = "not_begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Sent, or about to be; what came of it is not known. `at` is in Unix seconds, here and below."""

    at: float
    kind: Literal["begun"] = "begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The target said no, in these words."""

    at: float
    message: str
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It happened, once. `id` is what the target calls the result."""

    at: float
    id: str
    kind: Literal["done"] = "done"


Effect: TypeAlias = NotBegun | Begun | Refused | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Who fine-tunes. `simulated` is the embedded server, whose address is another one each time."""

    base_url: str
    simulated: bool

    def is_same_as(self, other: "Destination") -> bool:
        """Whether both are one target."""
        return self.simulated == other.simulated and (self.simulated or self.base_url == other.base_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A training or validation file by its content. `name` is what it is called at the target; `size` is in bytes."""

    role: Literal["train", "validation"]
    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file at one target. `effect.id` is the target's file id."""

    file: DataFile
    destination: Destination
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the recipe asks for. `hyperparameters` holds what was chosen; the rest is left to the target."""

    model: str
    method: str
    hyperparameters: Mapping[str, int | float]
    suffix: str = ""
    seed: int | None = None
    wandb_project: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What training is expected to cost. `price_per_token` is None where it is unknown.

    `epochs_assumed` says that the target chooses the epochs and `epochs` is the assumption.
    """

    examples: int
    tokens: int
    epochs: int
    epochs_assumed: bool
    price_per_token: Picodollars | None

    def cost(self, price_per_token: Picodollars | None = None) -> Picodollars | None:
        """tokens x epochs x price; None where neither the estimate nor the caller knows a price."""
        price = self.price_per_token if self.price_per_token is not None else price_per_token
        return None if price is None else self.tokens * self.epochs * price


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A usable model from the middle of the training."""

    step: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended. `model` and `error` are "" where there is none; `cost` is None where it cannot be known.

    `lost` is a simulated job whose server is gone, and with it the job.
    """

    at: float
    status: Literal["succeeded", "failed", "cancelled", "lost"]
    model: str = ""
    error: str = ""
    trained_tokens: int | None = None
    cost: Picodollars | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The job has not ended, as far as is known. `status` is the target's last word."""

    status: str = ""
    kind: Literal["running"] = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One fine-tuning job, made or to be made. `number` counts from 1 over the run.

    `is_again` says that it was asked for although there was one already; `jobs_before` are the target's jobs for the
    same dataset that are not this one, None as long as nobody has looked.
    """

    number: int
    is_again: bool
    destination: Destination
    settings: Settings
    train: DataFile
    validation: DataFile | None
    estimate: Estimate
    creation: Effect = field(default_factory=NotBegun)
    jobs_before: tuple[str, ...] | None = None
    progress: Outcome | Running = field(default_factory=Running)

    @property
    def job_id(self) -> str:
        """The fine-tuning job's id, "" before there is one."""
        return self.creation.id if isinstance(self.creation, Done) else ""

    @property
    def may_exist(self) -> bool:
        """Whether the target has this job, or may have it."""
        return isinstance(self.creation, Begun | Done)

    @property
    def files(self) -> tuple[DataFile, ...]:
        """What has to be uploaded for it."""
        return (self.train,) if self.validation is None else (self.train, self.validation)


class FineTuneState(Enum):
    """The whole record in one word."""

    NOTHING = "nothing"
    PLANNED = "planned"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    CREATING = "creating"
    CREATED = "created"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneRecord:
    """All of it. The last submission is the current one."""

    run: str
    uploads: tuple[Upload, ...] = ()
    submissions: tuple[Submission, ...] = ()

    @property
    def current(self) -> Submission | None:
        """The last submission; None where nothing was ever planned."""
        return self.submissions[-1] if self.submissions else None

    @property
    def job_ids(self) -> frozenset[str]:
        """The ids of all jobs that were made."""
        return frozenset(submission.job_id for submission in self.submissions if submission.job_id)

    @property
    def state(self) -> FineTuneState:
        """Where the current submission stands."""
        current = self.current
        if current is None:
            return FineTuneState.NOTHING
        if isinstance(current.progress, Outcome):
            return FineTuneState.ENDED
        match current.creation:
            case Done():
                return FineTuneState.CREATED
            case Begun():
                return FineTuneState.CREATING
            case Refused():
                return FineTuneState.REFUSED
            case NotBegun():
                return self._upload_state(current)

    def _upload_state(self, current: Submission) -> FineTuneState:
        effects = [self.upload_of(file, current.destination) for file in current.files]
        if any(isinstance(effect, Refused) for effect in effects):
            return FineTuneState.REFUSED
        if all(isinstance(effect, Done) for effect in effects):
            return FineTuneState.UPLOADED
        return (
            FineTuneState.UPLOADING
            if any(isinstance(effect, Begun | Done) for effect in effects)
            else (FineTuneState.PLANNED)
        )

    def upload_of(self, file: DataFile, destination: Destination) -> Effect:
        """What came of uploading a file to a target."""
        for upload in self.uploads:
            if upload.file == file and upload.destination.is_same_as(destination):
                return upload.effect
        return NotBegun()

    def with_upload(self, file: DataFile, destination: Destination, effect: Effect) -> "FineTuneRecord":
        """The record after an upload took a step."""
        others = tuple(
            upload for upload in self.uploads if upload.file != file or not upload.destination.is_same_as(destination)
        )
        return replace(self, uploads=(*others, Upload(file=file, destination=destination, effect=effect)))

    def with_current(self, submission: Submission) -> "FineTuneRecord":
        """The record with its current submission replaced by a later state of it, or with a new one added."""
        kept = tuple(other for other in self.submissions if other.number != submission.number)
        return replace(self, submissions=(*kept, submission))

    def committed(self, price_per_token: Picodollars | None, *, simulated: bool) -> Picodollars | None:
        """What the jobs have cost or may cost, for the budget: the cost where it is known, else the estimate.

        `price_per_token` stands in where an earlier estimate had no price. None where a job's cost cannot be bounded.
        """
        total = 0
        for submission in self.submissions:
            if submission.may_exist and submission.destination.simulated == simulated:
                cost = _cost_of(submission, price_per_token)
                if cost is None:
                    return None
                total += cost
        return total

    def summary(self) -> JsonObject:
        """The figures that `status` shows."""
        current = self.current
        if current is None:
            return {"state": self.state.value}
        ended = current.progress if isinstance(current.progress, Outcome) else None
        cost = current.estimate.cost()
        summary: dict[str, Json] = {
            "state": self.state.value,
            "status": current.progress.status,
            "job_id": current.job_id,
            "base_model": current.settings.model,
            "model": ended.model if ended else "",
            "error": _error_of(current, ended),
            "usd_estimated": None if cost is None else usd(cost),
            "usd": None if ended is None or ended.cost is None else usd(ended.cost),
            "base_url": current.destination.base_url,
            "simulated": current.destination.simulated,
        }
        return summary


def _cost_of(submission: Submission, price_per_token: Picodollars | None) -> Picodollars | None:
    progress = submission.progress
    if isinstance(progress, Outcome):
        if progress.cost is not None:
            return progress.cost
        if progress.trained_tokens is not None and price_per_token is not None:
            return progress.trained_tokens * price_per_token
    return submission.estimate.cost(price_per_token)


def _error_of(current: Submission, ended: Outcome | None) -> str:
    if ended is not None:
        return ended.error
    return current.creation.message if isinstance(current.creation, Refused) else ""
