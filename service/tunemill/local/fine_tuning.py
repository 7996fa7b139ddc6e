"""All files and fine-tuning jobs of one server: how they are made, move on, and leave their results.

Jobs move on with the clock, or with each retrieval. What a job leaves at its end (a results file, a tuned model) is
made when somebody next looks at anything. Times come from `monotonic` and `wall`, both in seconds.
"""

import asyncio
import base64
import io
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, BinaryIO

from tunemill.local.curves import Curve
from tunemill.local.files import Blob, FileStore, StoredFile
from tunemill.local.job_requests import Refused, asked
from tunemill.local.jobs import ENDED, Job, JobFailure, Status
from tunemill.local.models import Models
from tunemill.local.options import JobPace
from tunemill.local.replies import Reply, bad_request, error, not_found
from tunemill.local.training_files import EXAMPLES_MIN, FileFormat, Inspection, inspect

_ID_LETTERS = 24


@dataclass(slots=True)
class Held:
    """A job and how far it has come."""

    job: Job
    started_s: float
    stage: int = 0
    settled: bool = False

    def elapsed_s(self, now: float) -> float:
        """Seconds since it was made; in a job that moves by retrievals, the beginning of its present stage."""
        if not self.job.pace.per_retrieve:
            return now - self.started_s
        stages = self.job.stages()
        return stages[min(self.stage, len(stages) - 1)][0]


class FineTuning:
    """The state behind `/v1/files` and `/v1/fine_tuning/jobs`."""

    def __init__(
        self,
        models: Models,
        *,
        pace: JobPace,
        results_base64: bool,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.files = FileStore()
        self.jobs: dict[str, Held] = {}
        self._models = models
        self._pace = pace
        self._results_base64 = results_base64
        self._monotonic = monotonic
        self._wall = wall

    def store(self, filename: str, purpose: str, source: BinaryIO) -> StoredFile:
        """Keep a file, whatever is in it."""
        content = Blob()
        content.fill(source)
        file = StoredFile(
            id=self._new_id("file-"), filename=filename, purpose=purpose, created_at=int(self._wall()), content=content
        )
        self.files.add(file)
        return file

    async def create(self, fields: Mapping[str, Any]) -> Job | Reply:
        """Make a job. Its files are read now, off the event loop; that they are bad is found while it validates."""
        try:
            wanted = asked(fields, examples=0, seed_default=0)
            files = [self._training_file(wanted.training_file, "training_file")]
            if wanted.validation_file is not None:
                files.append(self._training_file(wanted.validation_file, "validation_file"))
        except Refused as problem:
            return problem.reply
        if not self._models.answers(wanted.model):
            message = f"Model {wanted.model} is not available for fine-tuning or does not exist."
            return error(400, message, kind="bad_request", code="model_not_available", param="model")
        expected = expected_format(wanted.model, wanted.method)
        found = [await asyncio.to_thread(inspect, file.content.lines(), expected) for file in files]
        return self._make(fields, found)

    def _make(self, fields: Mapping[str, Any], found: list[Inspection]) -> Job:
        job_id = self._new_id("ftjob-")
        examples = found[0].examples
        seed_default = int.from_bytes(blake2b(job_id.encode(), digest_size=3).digest(), "big")
        wanted = asked(fields, examples=examples, seed_default=seed_default)
        steps = max(1, -(-examples // wanted.batch_size) * wanted.n_epochs)
        job = Job(
            id=job_id,
            created_at=int(self._wall()),
            asked=wanted,
            pace=self._pace,
            curve=Curve(steps=steps, seed=job_id.encode(), validated=len(found) > 1),
            tokens=found[0].tokens,
            failure=_failure(found),
            results_file=self._new_id("file-"),
        )
        self.jobs[job_id] = Held(job, self._monotonic())
        return job

    def find(self, job_id: str) -> Held | Reply:
        """The job, or the 404 that says it is not there."""
        return self.jobs.get(job_id) or not_found(f"Could not find fine tune: {job_id}", param="fine_tune_id")

    def elapsed_s(self, held: Held) -> float:
        """How far the job has come."""
        return held.elapsed_s(self._monotonic())

    def advance(self, held: Held) -> None:
        """Somebody retrieved the job."""
        held.stage += 1
        self.settle()

    def cancel(self, held: Held) -> Reply | None:
        """Cancel the job; the 400 that says why not where it has ended."""
        elapsed_s = self.elapsed_s(held)
        if held.job.status(elapsed_s) in ENDED:
            return bad_request(f"Job has already completed: {held.job.id}", code="invalid_fine_tune_status")
        held.job = replace(held.job, cancelled_s=elapsed_s)
        held.stage = len(held.job.stages())
        return None

    def settle(self) -> None:
        """Put in place what jobs that have succeeded by now leave behind."""
        for held in self.jobs.values():
            if not held.settled and held.job.status(self.elapsed_s(held)) is Status.SUCCEEDED:
                held.settled = True
                self._models.add_tuned(held.job.tuned_model, int(self._wall()))
                for checkpoint in held.job.checkpoints(self.elapsed_s(held)):
                    self._models.add_tuned(checkpoint.model, checkpoint.created_at)
                self._add_results(held.job)

    def _add_results(self, job: Job) -> None:
        csv = "".join(job.curve.results()).encode()
        content = Blob()
        content.fill(io.BytesIO(base64.b64encode(csv) if self._results_base64 else csv))
        self.files.add(
            StoredFile(
                id=job.results_file,
                filename="step_metrics.csv",
                purpose="fine-tune-results",
                created_at=int(self._wall()),
                content=content,
            )
        )

    def _training_file(self, file_id: str, param: str) -> StoredFile:
        file = self.files.find(file_id)
        if isinstance(file, Reply):
            raise Refused(f"invalid {param}: {file_id}", param)
        if file.purpose != "fine-tune":
            raise Refused(f"invalid {param}: {file_id} has purpose {file.purpose!r}, not 'fine-tune'", param)
        return file

    @staticmethod
    def _new_id(prefix: str) -> str:
        # Not from the seed: a client that remembers an id must never find another server's file or job under it.
        return prefix + secrets.token_hex(_ID_LETTERS // 2)

    def close(self) -> None:
        """Let go of all files."""
        self.files.close()


def expected_format(model: str, method: str) -> FileFormat | None:
    """What the model and the method are tuned with; None where the file may choose between chat and completion."""
    if method == "dpo":
        return FileFormat.PREFERENCE
    base = model.removeprefix("ft:")
    if base.startswith(("babbage", "davinci")):
        return FileFormat.COMPLETION
    return FileFormat.CHAT if base.startswith("gpt-") else None


def _failure(found: list[Inspection]) -> JobFailure | None:
    for inspection, name in zip(found, ("training", "validation"), strict=False):
        param = f"{name}_file"
        if inspection.problems:
            message = f"The job failed due to an invalid {name} file. Invalid file format. "
            return JobFailure(code="invalid_file_format", message=message + "; ".join(inspection.problems), param=param)
        least = EXAMPLES_MIN if name == "training" else 1
        if inspection.examples < least:
            message = f"The job failed due to an invalid {name} file. {name.capitalize()} file has "
            message += f"{inspection.examples} example(s), but must have at least {least} examples"
            return JobFailure(code="invalid_n_examples", message=message, param=param)
    return None
