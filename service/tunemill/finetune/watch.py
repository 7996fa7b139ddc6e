"""Follows a fine-tuning job to its end, for days if need be, and can be stopped and taken up again at any moment.

Each poll asks for the job and its events, writes what is new, and only then counts it as seen. A poll that fails is
repeated for a day; a status that nobody has heard of is not an end. All state is in the run folder, whose lock the
caller holds. Nothing is printed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from tunemill.client.fine_tuning_values import JobInfo, Target, TargetError, TargetRefused, TargetUncertain
from tunemill.clock import Clock
from tunemill.errors import RunFolderError
from tunemill.events import FineTuneChanged, Subscriber
from tunemill.finetune import store
from tunemill.finetune.curve import Curve
from tunemill.finetune.patience import FOR_READS, Patience, final, patiently
from tunemill.finetune.record import Checkpoint, Done, FineTuneRecord, Outcome, Running, Submission
from tunemill.model import Picodollars

T = TypeVar("T")

ENDS: dict[str, Literal["succeeded", "failed", "cancelled"]] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_MEND = "the job goes on at the target: `tunemill watch` takes it up again"
_FILE_PARAMS = {"training_file", "validation_file"}
_ONE_TRY = Patience(total_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPace:
    """Seconds between polls, growing from `first_s` to `longest_s` while the status stays, and the limits of waiting.

    `outage` is for polls that fail; `closing` for what is fetched at the end. `missing_max` is how often in a row a
    target may say that it does not know the job, and `nameless_max` how often that a job succeeded without a model.
    """

    first_s: float = 2.0
    growth: float = 1.5
    longest_s: float = 60.0
    missing_max: int = 6
    nameless_max: int = 30
    outage: Patience = field(default_factory=lambda: Patience(longest_s=300.0, total_s=86_400.0))
    closing: Patience = field(default_factory=lambda: Patience(total_s=300.0))

    def interval_s(self, polls: int) -> float:
        """Seconds to wait after so many polls (from 1) that showed the same status."""
        return float(min(self.longest_s, self.first_s * self.growth ** min(polls - 1, 100)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that is over. `outcome.error` is the target's own message where it failed."""

    job_id: str
    outcome: Outcome
    record: FineTuneRecord


async def watch(
    folder: Path,
    run: str,
    *,
    target: Target,
    price_per_token: Picodollars | None,
    clock: Clock,
    emit: Subscriber,
    pace: WatchPace | None = None,
) -> Ended:
    """Return when the job has ended; at once, and without asking, where that is on record.

    `price_per_token` (of one trained token) is None where it is unknown; the cost is then unknown too. Raises
    `RunFolderError` where there is no job, `ProviderRefused` where the target says no (wrong key, job not known), and
    `ProviderUnreachable` after a day without an answer.
    """
    record = store.load(folder, run)
    current = job_on_record(folder, record)
    if isinstance(current.progress, Outcome):
        return Ended(job_id=current.job_id, outcome=current.progress, record=record)
    return await Watcher(folder, record, target, price_per_token, clock, emit, pace or WatchPace()).follow()


def job_on_record(folder: Path, record: FineTuneRecord) -> Submission:
    """The current submission, which has to have a job; raises `RunFolderError` otherwise."""
    current = record.current
    if current is None or not isinstance(current.creation, Done):
        state = record.state.value
        raise RunFolderError(
            f"there is no fine-tuning job to follow (its state is {state!r})",
            mend="`tunemill submit` makes one, or finds the one that was made",
            file=folder / store.FILE_NAME,
        )
    return current


class Watcher:
    """One call of `watch` (or the end of one of `cancel`): the record, the curve, and what was seen last."""

    def __init__(
        self,
        folder: Path,
        record: FineTuneRecord,
        target: Target,
        price_per_token: Picodollars | None,
        clock: Clock,
        emit: Subscriber,
        pace: WatchPace,
    ) -> None:
        self._folder = folder
        self._record = record
        self._submission = job_on_record(folder, record)
        self._target = target
        self._price_per_token = price_per_token
        self._clock = clock
        self._emit = emit
        self._pace = pace
        self._curve = Curve(folder, self._job_id)
        self._missing = 0
        self._nameless = 0

    @property
    def _job_id(self) -> str:
        return self._submission.job_id

    async def follow(self) -> Ended:
        """Poll until the job is over."""
        polls = 0
        while True:
            job = await self._poll()
            polls = 1 if self._note_status(job) else polls + 1
            await self._take_events(_ONE_TRY)
            if self._is_over(job):
                return await self.finish(job)
            await self._clock.sleep(self._pace.interval_s(polls))

    async def finish(self, job: JobInfo) -> Ended:
        """Fetch what a finished job leaves behind, and put its end on record, last of all."""
        await self._take_events(self._pace.closing)
        await self._take_results(job)
        outcome = Outcome(
            at=self._clock.wall(),
            status=ENDS[job.status],
            model=job.fine_tuned_model or "",
            error=_error_of(job),
            trained_tokens=job.trained_tokens,
            cost=cost_of(job, self._price_per_token),
            checkpoints=await self._checkpoints(),
        )
        self._keep(replace(self._submission, progress=outcome))
        self._say("ended", _sentence(job, outcome), status=outcome.status)
        return Ended(job_id=self._job_id, outcome=outcome, record=self._record)

    async def _poll(self) -> JobInfo:
        with final(f"asking for the fine-tuning job {self._job_id}", then=_MEND):
            return await self._patiently(self._retrieve, self._pace.outage)

    async def _retrieve(self) -> JobInfo:
        try:
            job = await self._target.retrieve(self._job_id)
        except TargetRefused as refusal:
            self._missing += 1
            if refusal.is_missing and self._missing < self._pace.missing_max:
                raise TargetUncertain(f"the target does not know the job ({refusal})") from refusal
            raise
        self._missing = 0
        return job

    def _note_status(self, job: JobInfo) -> bool:
        """Put a new status on record; whether it is new."""
        if job.status == self._submission.progress.status:
            return False
        self._keep(replace(self._submission, progress=Running(status=job.status)))
        self._say("status", f"the job is {job.status.replace('_', ' ') or 'without a status'}", status=job.status)
        return True

    async def _take_events(self, patience: Patience) -> None:
        """Write the events that are new and pass them on. They are served again, so a failure loses nothing.

        A target that refuses to serve events at all is told of once, at the end.
        """
        try:
            served = await self._patiently(lambda: self._target.list_events(self._job_id, self._curve.known), patience)
        except TargetError as error:
            if not isinstance(error, TargetRefused) or patience is not _ONE_TRY:
                self._say("poll_failed", f"the target's events cannot be read: {error}")
            return
        for event in self._curve.append(served):
            self._say("event", event.message)

    async def _take_results(self, job: JobInfo) -> None:
        for file_id in job.result_files[:1]:
            try:
                content = await self._patiently(partial(self._target.read_file, file_id), self._pace.closing)
            except TargetError as error:
                self._say("poll_failed", f"the results file {file_id} cannot be read: {error}")
                return
            if not self._curve.take_results(content):
                self._say("warning", f"the results file {file_id} is no CSV; metrics.csv is from the target's events")

    async def _checkpoints(self) -> tuple[Checkpoint, ...]:
        try:
            found = await self._patiently(partial(self._target.list_checkpoints, self._job_id), self._pace.closing)
        except TargetError:
            return ()  # many targets keep none, and none are needed
        return tuple(Checkpoint(step=info.step, model=info.model) for info in found)

    async def _patiently(self, call: Callable[[], Awaitable[T]], patience: Patience) -> T:
        return await patiently(call, patience=patience, repeat=FOR_READS, clock=self._clock, told=self._told)

    def _is_over(self, job: JobInfo) -> bool:
        # Some targets say that a job succeeded before they name the model.
        if job.status == "succeeded" and not job.fine_tuned_model:
            self._nameless += 1
            return self._nameless >= self._pace.nameless_max
        return job.status in ENDS

    def _keep(self, submission: Submission) -> None:
        self._submission = submission
        self._record = self._record.with_current(submission)
        store.save(self._folder, self._record)

    def _told(self, error: TargetError, delay_s: float) -> None:
        self._say("poll_failed", f"{error}; asking again in {delay_s:g} s (the job goes on at the target)")

    def _say(self, what: str, message: str, status: str | None = None) -> None:
        last = status if status is not None else self._submission.progress.status or None
        self._emit(FineTuneChanged(what=what, fine_tuning_job_id=self._job_id, status=last, message=message))


def cost_of(job: JobInfo, price_per_token: Picodollars | None) -> Picodollars | None:
    """What a job cost: trained tokens x price; None where it cannot be known.

    A job that failed over one of its files never trained, and costs nothing.
    """
    if job.trained_tokens is not None:
        return None if price_per_token is None else job.trained_tokens * price_per_token
    if job.status == "failed" and job.error is not None and job.error.param in _FILE_PARAMS:
        return 0
    return None


def _error_of(job: JobInfo) -> str:
    if job.error is not None:
        return job.error.message
    if job.status == "failed":
        return "the target gave no reason"
    if job.status == "succeeded" and not job.fine_tuned_model:
        return "the target never named the tuned model"
    return ""


def _sentence(job: JobInfo, outcome: Outcome) -> str:
    match outcome.status:
        case "succeeded":
            return f"the tuned model is {outcome.model}" if outcome.model else outcome.error
        case "failed":
            return f"the job failed: {outcome.error}"
        case _:
            return f"the job was {outcome.status}"
