"""A fine-tuning job as a value that depends on time alone: what it is, was asked for, and shows at any moment.

    validating_files --> queued --> running --> succeeded
           |                |          |
           +--> failed      +----------+--> cancelled

Nothing runs: status, events and checkpoints are computed from the seconds since the job was made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tunemill.local.curves import Curve, Point
from tunemill.local.options import JobPace
from tunemill.local.pages import Listed

_METRIC_EVENTS_MAX = 200
_CHECKPOINTS_MAX = 3


class Status(Enum):
    """Of a job, as the API names them."""

    VALIDATING = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Why a job failed."""

    code: str
    message: str
    param: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the create request asked for, with every "auto" decided."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str
    method: str
    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    beta: float
    seed: int
    metadata: Mapping[str, str]
    integrations: list[Any] | None

    def hyperparameters(self) -> dict[str, object]:
        """As the API shows them."""
        shown: dict[str, object] = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        return {**shown, "beta": self.beta} if self.method == "dpo" else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Listed):
    """One event. `offset_s` is when, in seconds after the job was made."""

    offset_s: float
    created_at: int
    level: str
    message: str
    data: Mapping[str, object] | None = None

    def to_json(self) -> dict[str, object]:
        """As the API lists it."""
        return {
            "object": "fine_tuning.job.event",
            "id": self.id,
            "created_at": self.created_at,
            "level": self.level,
            "message": self.message,
            "data": self.data,
            "type": "message" if self.data is None else "metrics",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Listed):
    """A usable model from the end of an epoch."""

    job_id: str
    model: str
    created_at: int
    point: Point

    def to_json(self) -> dict[str, object]:
        """As the API lists it."""
        return {
            "object": "fine_tuning.job.checkpoint",
            "id": self.id,
            "created_at": self.created_at,
            "fine_tuned_model_checkpoint": self.model,
            "fine_tuning_job_id": self.job_id,
            "step_number": self.point.step,
            "metrics": metrics(self.point),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was made. `curve` is that of its whole training; `failure` None where its files are good.

    `elapsed_s`, which the methods take, is seconds since it was made; `cancelled_s` is when it was cancelled, likewise.
    """

    id: str
    created_at: int
    asked: Asked
    pace: JobPace
    curve: Curve
    tokens: int
    failure: JobFailure | None
    results_file: str
    cancelled_s: float | None = None

    @property
    def tuned_model(self) -> str:
        """The name of the model that it ends with, which says that it is simulated."""
        parts = self.asked.model.split(":")
        base = parts[1] if parts[0] == "ft" and len(parts) > 1 else self.asked.model
        return f"ft:{base}:simulated:{self.asked.suffix}:{self.id[-8:]}"

    def stages(self) -> list[tuple[float, Status]]:
        """When each status begins, in order. A cancelled job has no later ones."""
        queued_s = self.pace.validating_s
        running_s = queued_s + self.pace.queued_s
        if self.failure is not None:
            stages = [(0.0, Status.VALIDATING), (queued_s, Status.FAILED)]
        else:
            stages = [
                (0.0, Status.VALIDATING),
                (queued_s, Status.QUEUED),
                (running_s, Status.RUNNING),
                (running_s + self.pace.running_s, Status.SUCCEEDED),
            ]
        if self.cancelled_s is None:
            return stages
        return [stage for stage in stages if stage[0] <= self.cancelled_s] + [(self.cancelled_s, Status.CANCELLED)]

    def status(self, elapsed_s: float) -> Status:
        """The status at a moment."""
        return [status for start_s, status in self.stages() if start_s <= elapsed_s][-1]

    def events(self, elapsed_s: float) -> list[Event]:
        """What has happened so far, oldest first."""
        until_s = elapsed_s if self.cancelled_s is None else min(elapsed_s, self.cancelled_s)
        told = [event for event in self._told() if event[0] <= until_s]
        if self.cancelled_s is not None and elapsed_s >= self.cancelled_s:
            told.append((self.cancelled_s, "info", "The fine-tuning job was cancelled", None))
        return [
            Event(
                id=f"ftevent-{self.id[6:]}{index:05d}",
                offset_s=offset_s,
                created_at=self.created_at + int(offset_s),
                level=level,
                message=message,
                data=data,
            )
            for index, (offset_s, level, message, data) in enumerate(told)
        ]

    def checkpoints(self, elapsed_s: float) -> list[Checkpoint]:
        """The last few ends of epochs, once the training is through, oldest first."""
        if self.status(elapsed_s) is not Status.SUCCEEDED:
            return []
        epochs = self.asked.n_epochs
        steps = sorted({max(1, self.curve.steps * epoch // epochs) for epoch in range(1, epochs + 1)})
        return [self._checkpoint(step) for step in steps[-_CHECKPOINTS_MAX:]]

    def to_json(self, elapsed_s: float) -> dict[str, object]:
        """As the API shows it at a moment."""
        status = self.status(elapsed_s)
        succeeded = status is Status.SUCCEEDED
        ended = status in ENDED
        finish_s, _ = self.stages()[-1]
        hyperparameters = self.asked.hyperparameters()
        return {
            "object": "fine_tuning.job",
            "id": self.id,
            "model": self.asked.model,
            "created_at": self.created_at,
            "finished_at": self.created_at + int(finish_s) if ended else None,
            "estimated_finish": self.created_at + int(finish_s) + 1 if status is Status.RUNNING else None,
            "fine_tuned_model": self.tuned_model if succeeded else None,
            "organization_id": "org-simulated",
            "result_files": [self.results_file] if succeeded else [],
            "status": status.value,
            "validation_file": self.asked.validation_file,
            "training_file": self.asked.training_file,
            "hyperparameters": {key: value for key, value in hyperparameters.items() if key != "beta"},
            "trained_tokens": self.tokens * self.asked.n_epochs if succeeded else None,
            "error": self._error() if status is Status.FAILED else {"code": None, "message": None, "param": None},
            "user_provided_suffix": self.asked.suffix or None,
            "seed": self.asked.seed,
            "integrations": self.asked.integrations or [],
            "metadata": dict(self.asked.metadata) or None,
            "method": {"type": self.asked.method, self.asked.method: {"hyperparameters": hyperparameters}},
        }

    def _error(self) -> dict[str, object]:
        assert self.failure is not None, "a job without a failure has not failed"
        return {"code": self.failure.code, "message": self.failure.message, "param": self.failure.param}

    def _checkpoint(self, step: int) -> Checkpoint:
        last = step == self.curve.steps
        return Checkpoint(
            id=f"ftckpt_{self.id[6:]}{step:06d}",
            job_id=self.id,
            model=self.tuned_model if last else f"{self.tuned_model}:ckpt-step-{step}",
            created_at=self.created_at + int(self._step_s(step)),
            point=self.curve.point(step),
        )

    def _step_s(self, step: int) -> float:
        return self.pace.validating_s + self.pace.queued_s + self.pace.running_s * step / self.curve.steps

    def _told(self) -> Iterator[tuple[float, str, str, Mapping[str, object] | None]]:
        """Everything that will happen if nobody cancels: when, level, message and metrics."""
        yield 0.0, "info", f"Created fine-tuning job: {self.id}", None
        yield 0.0, "warn", "This job is simulated: no model is trained, and its metrics are invented", None
        yield 0.0, "info", f"Validating training file: {self.asked.training_file}", None
        stages = self.stages()
        if self.failure is not None:
            yield self.pace.validating_s, "error", self.failure.message, None
            return
        yield self.pace.validating_s, "info", "Files validated, moving job to queued state", None
        yield self.pace.validating_s + self.pace.queued_s, "info", "Fine-tuning job started", None
        for step in _spread(self.curve.steps, _METRIC_EVENTS_MAX):
            point = self.curve.point(step)
            message = f"Step {step}/{self.curve.steps}: training loss={point.train_loss:.2f}"
            if point.valid_loss is not None:
                message += f", validation loss={point.valid_loss:.2f}"
            yield self._step_s(step), "info", message, {**metrics(point), "total_steps": self.curve.steps}
        end_s, end = stages[-1]
        if end is not Status.SUCCEEDED:
            return
        yield end_s, "info", f"New fine-tuned model created: {self.tuned_model} (simulated)", None
        yield end_s, "info", "The job has successfully completed", None


def metrics(point: Point) -> dict[str, object]:
    """A step's metrics as events and checkpoints name them; what was not measured is left out."""
    measured: dict[str, object] = {
        "step": point.step,
        "train_loss": point.train_loss,
        "train_mean_token_accuracy": point.train_accuracy,
    }
    if point.valid_loss is None:
        return measured
    return {**measured, "valid_loss": point.valid_loss, "valid_mean_token_accuracy": point.valid_accuracy}


def _spread(steps: int, most: int) -> Iterator[int]:
    """At most `most` of the steps 1..steps, evenly, with the last one always among them."""
    shown = min(steps, most)
    return (steps * index // shown for index in range(1, shown + 1))
