"""What a target can be asked for and what it may answer, as values, and `Target`, the seam between stage and wire.

No openai in here: whoever only reads a record of a fine-tuning job need not load the SDK. A field is None where the
target said nothing; everything else about a target's habits (missing fields, unknown statuses) is settled when a reply
is parsed.

    TargetError
    ├── TargetRefused        the target said no, and why; nothing happened
    ├── TargetBusy           the target said later (429); nothing happened
    ├── TargetUnreachable    no connection was made; nothing happened
    └── TargetUncertain      no usable answer: whatever was asked for may have happened
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

from tunemill.model import FailureKind, JsonObject

METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512


class TargetError(Exception):
    """A call that brought no answer. The message is one line, with what the target said, and never a key."""


class TargetRefused(TargetError):
    """The target answered, and the answer is no: the call had no effect and will not have one when repeated."""

    def __init__(self, message: str, *, kind: FailureKind, status: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for is not there."""
        return self.status == 404


class TargetBusy(TargetError):
    """The target asks us to slow down. `retry_after_s` is None where it did not say for how long."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TargetUnreachable(TargetError):
    """No connection: name not found, refused, or not made in time."""


class TargetUncertain(TargetError):
    """A timeout, a cut connection, a 5xx, an error page, an answer that is none: it may have happened all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that the target lists. `shutdown_date` is None where none was announced."""

    id: str
    shutdown_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """An uploaded file. `size` is in bytes, None where the target does not say."""

    id: str
    name: str
    size: int | None
    created_at: float
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a fine-tuning job failed. `param` is the part of the request that was at fault, "" where none was named."""

    code: str
    message: str
    param: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A fine-tuning job as the target tells it. `status` is the target's own word, which may be an unknown one."""

    id: str
    status: str
    model: str
    training_file: str
    created_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    error: JobError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One of the target's events. `served` is the whole event as it came; `data` is empty for plain messages."""

    id: str
    created_at: float
    level: str
    message: str
    data: JsonObject
    served: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A usable model from the middle of the training."""

    step: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a fine-tuning job is asked to do. `hyperparameters` holds only what was chosen; "auto" is left out.

    `suffix` and `wandb_project` are "" and `seed` is None where the recipe leaves them to the target.
    """

    model: str
    training_file: str
    validation_file: str | None
    method: str
    hyperparameters: Mapping[str, int | float]
    suffix: str
    seed: int | None
    wandb_project: str
    metadata: Mapping[str, str]


class Target(Protocol):
    """Whoever fine-tunes. Every call has a deadline of its own and raises only `TargetError`."""

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """All models; none where the target keeps no list."""

    async def upload(self, path: Path, name: str) -> FileInfo:
        """Send a training file under a name of our choice."""

    async def retrieve_file(self, file_id: str) -> FileInfo:
        """An uploaded file."""

    async def list_files(self) -> tuple[FileInfo, ...]:
        """All uploaded training files."""

    async def create(self, request: JobRequest) -> JobInfo:
        """Begin a fine-tuning job."""

    async def retrieve(self, job_id: str) -> JobInfo:
        """A fine-tuning job as it stands."""

    async def list_jobs(self) -> tuple[JobInfo, ...]:
        """All fine-tuning jobs."""

    async def list_events(self, job_id: str, known: Set[str]) -> tuple[JobEvent, ...]:
        """The job's events, oldest first; may leave out what is older than events whose ids are known."""

    async def list_checkpoints(self, job_id: str) -> tuple[CheckpointInfo, ...]:
        """The job's checkpoints by step."""

    async def read_file(self, file_id: str) -> bytes:
        """A file's content as served."""

    async def cancel(self, job_id: str) -> JobInfo:
        """Ask the target to stop the job."""
