"""Uploads the dataset and creates the fine-tuning job, exactly once, whatever gets lost or killed in between.

`finetune.json` is durable before and after each side effect, so that the next call knows what may have happened and
asks the target's lists before it does anything again. The caller holds the run folder's lock. Nothing is printed.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tunemill.client.fine_tuning_values import FileInfo, JobRequest, Target, TargetError, TargetRefused
from tunemill.clock import Clock
from tunemill.errors import ProviderRefused
from tunemill.events import FineTuneChanged, Subscriber
from tunemill.finetune import preflight, store
from tunemill.finetune.decide import AlreadySubmitted, Dataset, GoOn, SubmitResult, Submitted, decide, is_open
from tunemill.finetune.once import Deed, Doer, Looking
from tunemill.finetune.order import (
    SubmitOrder,
    assumptions_of,
    dataset_of,
    estimate_of,
    settings_of,
    shortfall,
    valid_report,
)
from tunemill.finetune.patience import FOR_READS, Patience, final, patiently
from tunemill.finetune.recognise import find_file, find_jobs, metadata_of
from tunemill.finetune.record import (
    Begun,
    DataFile,
    Done,
    Estimate,
    FineTuneRecord,
    NotBegun,
    Outcome,
    Submission,
)

_PREPARING = {"pending", "running", "processing", "notRunning"}
_SPOILT = {"error", "failed", "deleted"}
_MEND = "nothing is lost: `tunemill submit` goes on from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitPace:
    """How long to go on trying, how lists are looked at, and how long a target may take to prepare a file."""

    patience: Patience = field(default_factory=Patience)
    looking: Looking = field(default_factory=Looking)
    preparing_poll_s: float = 5.0
    preparing_max_s: float = 900.0


async def submit(
    order: SubmitOrder,
    *,
    target: Target,
    folder: Path,
    check: preflight.Check,
    clock: Clock,
    emit: Subscriber,
    again: bool = False,
    pace: SubmitPace | None = None,
) -> SubmitResult:
    """Make sure that the dataset's fine-tuning job exists, and that there is one of it.

    Raises `UserError` for what a person can mend (dataset, damaged record, unknown price under a budget),
    `ProviderRefused` where the target says no, `ProviderUnreachable` where it does not answer.
    """
    record = store.load(folder, order.run)
    dataset = await asyncio.to_thread(dataset_of, order)
    stage = _Stage(order, target, folder, clock, emit, pace or SubmitPace(), record)
    found = await stage.settle()
    verdict = decide(stage.record, dataset, settings_of(order.section), order.destination, again=again)
    if isinstance(verdict, AlreadySubmitted) and found:
        return Submitted(record=stage.record, job_id=verdict.job_id, found=True)
    if not isinstance(verdict, GoOn):
        return verdict
    report = await asyncio.to_thread(valid_report, order, check)
    estimate = estimate_of(order, report)
    short = shortfall(order, stage.record, estimate)
    if short is not None:
        return short
    warnings = (*assumptions_of(estimate), *await stage.model_warnings())
    return await stage.perform(verdict, dataset, estimate, warnings)


class _Stage:
    """One call of `submit`: the record as it grows, and everything that is needed to let it grow."""

    def __init__(
        self,
        order: SubmitOrder,
        target: Target,
        folder: Path,
        clock: Clock,
        emit: Subscriber,
        pace: SubmitPace,
        record: FineTuneRecord,
    ) -> None:
        self.record = record
        self._order = order
        self._target = target
        self._folder = folder
        self._clock = clock
        self._emit = emit
        self._pace = pace
        self._doer = Doer(clock=clock, say=partial(self._say, "waiting"), patience=pace.patience, looking=pace.looking)

    async def settle(self) -> bool:
        """Find out what became of a job that an earlier process may have made, or left behind at a simulator.

        Returns whether it was open and is found.
        """
        current = self.record.current
        if current is None:
            return False
        if is_open(current, self._order.destination):
            deed = self._creation(current)
            job_id = await self._doer.look_long(deed)
            deed.keep(Done(at=self._clock.wall(), id=job_id) if job_id else NotBegun())
            return bool(job_id)
        if current.job_id and current.destination.simulated and self._order.destination.simulated:
            await self._notice_loss(current)
        return False

    async def model_warnings(self) -> tuple[str, ...]:
        """Look at the target's list of models; raises `ProviderRefused` where the model cannot be tuned."""
        with final("asking the target for its models", then=_MEND):
            listed = await patiently(
                self._target.list_models,
                patience=self._pace.patience,
                repeat=FOR_READS,
                clock=self._clock,
                told=self._told,
            )
        today = datetime.fromtimestamp(self._clock.wall(), tz=UTC).date()
        return preflight.model_warnings(self._order.section.model, listed, today=today)

    async def perform(
        self, verdict: GoOn, dataset: Dataset, estimate: Estimate, warnings: tuple[str, ...]
    ) -> Submitted:
        """Plan, upload, create; each step durable."""
        for warning in warnings:
            self._say("warning", warning)
        submission = self._planned(verdict, dataset, estimate)
        self._keep(self.record.with_current(submission))
        for file, path in zip(submission.files, (self._order.train, self._order.validation), strict=False):
            assert path is not None
            await self._ensure_uploaded(submission, file, path)
        job_id, found = await self._ensure_created(submission)
        return Submitted(record=self.record, job_id=job_id, found=found, warnings=warnings)

    def _planned(self, verdict: GoOn, dataset: Dataset, estimate: Estimate) -> Submission:
        planned = Submission(
            number=verdict.number,
            is_again=verdict.is_again,
            destination=self._order.destination,
            settings=settings_of(self._order.section),
            train=dataset.train,
            validation=dataset.validation,
            estimate=estimate,
            jobs_before=None if verdict.is_again else (),
        )
        before = self.record.current
        if before is not None and before.number == planned.number and before.files == planned.files:
            # What was found to be not ours stays so, and what appears in the list meanwhile is ours.
            return replace(planned, jobs_before=before.jobs_before)
        return planned

    async def _ensure_uploaded(self, submission: Submission, file: DataFile, path: Path) -> None:
        destination = submission.destination
        deed = Deed(
            name=f"uploading {path.name}",
            act=partial(self._upload, file, path),
            look=partial(self._look_for_file, file),
            keep=lambda effect: self._keep(self.record.with_upload(file, destination, effect)),
            mend=_MEND,
        )
        known = self.record.upload_of(file, destination)
        if isinstance(known, Done) and await self._is_there(known.id):
            return
        found = await (self._doer.look_long(deed) if isinstance(known, Begun) else self._doer.look_once(deed))
        if found:
            deed.keep(Done(at=self._clock.wall(), id=found))
        else:
            found, _ = await self._doer.do(deed)
        self._say("uploaded", f"{path.name} is at the target as {found} ({file.name}, {file.size} bytes)")
        await self._wait_until_prepared(path, found)

    async def _ensure_created(self, submission: Submission) -> tuple[str, bool]:
        if submission.jobs_before is None:
            jobs = await self._jobs_like(submission)
            submission = replace(submission, jobs_before=tuple(jobs))
            self._keep(self.record.with_current(submission))
        deed = self._creation(submission)
        job_id, found = await self._doer.look_once(deed), True
        if job_id:
            deed.keep(Done(at=self._clock.wall(), id=job_id))
        else:
            job_id, found = await self._doer.do(deed)
        how = "found, made earlier" if found else "created"
        self._say("created", f"fine-tuning job {job_id} {how} at {submission.destination.base_url}")
        return job_id, found

    def _creation(self, submission: Submission) -> Deed:
        return Deed(
            name="creating the fine-tuning job",
            act=partial(self._create, submission),
            look=partial(self._look_for_job, submission),
            keep=lambda effect: self._keep(self.record.with_current(replace(submission, creation=effect))),
            mend=_MEND,
        )

    async def _upload(self, file: DataFile, path: Path) -> str:
        return (await self._target.upload(path, file.name)).id

    async def _look_for_file(self, file: DataFile) -> str:
        found = find_file(await self._target.list_files(), file)
        return found.id if found else ""

    async def _create(self, submission: Submission) -> str:
        settings = submission.settings
        request = JobRequest(
            model=settings.model,
            training_file=self._file_id(submission, submission.train),
            validation_file=self._file_id(submission, submission.validation) if submission.validation else None,
            method=settings.method,
            hyperparameters=settings.hyperparameters,
            suffix=settings.suffix,
            seed=settings.seed,
            wandb_project=settings.wandb_project,
            metadata=metadata_of(self.record.run, submission),
        )
        return (await self._target.create(request)).id

    async def _look_for_job(self, submission: Submission) -> str:
        jobs = await self._jobs_like(submission)
        return jobs[0] if jobs else ""

    async def _jobs_like(self, submission: Submission) -> list[str]:
        others = self.record.job_ids | frozenset(submission.jobs_before or ())
        training_file = self._file_id(submission, submission.train)
        listed = await self._target.list_jobs()
        jobs = find_jobs(
            listed, run=self.record.run, submission=submission, training_file=training_file, other_than=others
        )
        return [job.id for job in jobs]

    def _file_id(self, submission: Submission, file: DataFile) -> str:
        effect = self.record.upload_of(file, submission.destination)
        return effect.id if isinstance(effect, Done) else ""

    async def _is_there(self, file_id: str) -> bool:
        """Whether an upload of an earlier process still exists: people delete files, and simulators forget them."""
        try:
            info = await self._file_info(file_id)
        except TargetRefused as refusal:
            if refusal.is_missing:
                return False
            raise ProviderRefused(f"asking for the file {file_id}: the target refused: {refusal}; {_MEND}") from refusal
        return info.status not in _SPOILT

    async def _wait_until_prepared(self, path: Path, file_id: str) -> None:
        """Some targets check a file for minutes and accept no job for it before."""
        waited_s = 0.0
        with final(f"waiting for the target to prepare {path.name}", then=_MEND):
            info = await self._file_info(file_id)
            while info.status in _PREPARING and waited_s < self._pace.preparing_max_s:
                await self._clock.sleep(self._pace.preparing_poll_s)
                waited_s += self._pace.preparing_poll_s
                info = await self._file_info(file_id)
        if info.status in _SPOILT:
            raise ProviderRefused(f"{path.name}: the target says {info.status!r} of its upload {file_id}; {_MEND}")

    async def _file_info(self, file_id: str) -> FileInfo:
        return await patiently(
            partial(self._target.retrieve_file, file_id),
            patience=self._pace.patience,
            repeat=FOR_READS,
            clock=self._clock,
            told=self._told,
        )

    async def _notice_loss(self, current: Submission) -> None:
        if isinstance(current.progress, Outcome):
            return
        try:
            await patiently(
                partial(self._target.retrieve, current.job_id),
                patience=self._pace.patience,
                repeat=FOR_READS,
                clock=self._clock,
                told=self._told,
            )
        except TargetRefused as refusal:
            if refusal.is_missing:
                lost = Outcome(at=self._clock.wall(), status="lost", error="the simulated target that had it is gone")
                self._keep(self.record.with_current(replace(current, progress=lost)))
        except TargetError:
            return  # nothing is known; the job stays on record as running

    def _keep(self, record: FineTuneRecord) -> None:
        self.record = record
        store.save(self._folder, record)

    def _say(self, what: str, message: str) -> None:
        current = self.record.current
        job_id = current.job_id if current is not None else ""
        self._emit(FineTuneChanged(what=what, fine_tuning_job_id=job_id or None, status=None, message=message))

    def _told(self, error: TargetError, delay_s: float) -> None:
        self._say("waiting", f"{error}; trying again in {delay_s:g} s")
