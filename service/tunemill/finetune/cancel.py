"""Asks the target to stop the current fine-tuning job. Asking twice, or again after a lost reply, is harmless."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tunemill.client.fine_tuning_values import JobInfo, Target, TargetError, TargetRefused
from tunemill.clock import Clock
from tunemill.events import FineTuneChanged, Subscriber
from tunemill.finetune import store
from tunemill.finetune.patience import FOR_READS, final, patiently
from tunemill.finetune.record import Outcome
from tunemill.finetune.watch import ENDS, Ended, Watcher, WatchPace, job_on_record
from tunemill.model import Picodollars

_MEND = "the job may still be running: try again, or cancel it where the target shows it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """The target will stop the job; `status` is its word for now, and `watch` sees the end."""

    job_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The job has stopped without a model; its end is on record."""

    ended: Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyEnded:
    """There was nothing to cancel: the job had come to its end before."""

    ended: Ended


CancelResult: TypeAlias = CancelRequested | Cancelled | AlreadyEnded


async def cancel(
    folder: Path,
    run: str,
    *,
    target: Target,
    price_per_token: Picodollars | None,
    clock: Clock,
    emit: Subscriber,
    pace: WatchPace | None = None,
) -> CancelResult:
    """Cancel the job on record. Raises as `watch` does."""
    pace = pace or WatchPace()
    record = store.load(folder, run)
    current = job_on_record(folder, record)
    if isinstance(current.progress, Outcome):
        return AlreadyEnded(ended=Ended(job_id=current.job_id, outcome=current.progress, record=record))
    job = await _ask(current.job_id, target=target, clock=clock, emit=emit, pace=pace)
    if job.status not in ENDS:
        return CancelRequested(job_id=job.id, status=job.status)
    ended = await Watcher(folder, record, target, price_per_token, clock, emit, pace).finish(job)
    return Cancelled(ended=ended) if ended.outcome.status == "cancelled" else AlreadyEnded(ended=ended)


async def _ask(job_id: str, *, target: Target, clock: Clock, emit: Subscriber, pace: WatchPace) -> JobInfo:
    """The job after the request. A target that refuses because the job is over is asked how it ended."""

    def told(error: TargetError, delay_s: float) -> None:
        message = f"cancelling: {error}; trying again in {delay_s:g} s"
        emit(FineTuneChanged(what="waiting", fine_tuning_job_id=job_id, status=None, message=message))

    with final(f"cancelling the fine-tuning job {job_id}", then=_MEND):
        try:
            call = partial(target.cancel, job_id)
            return await patiently(call, patience=pace.closing, repeat=FOR_READS, clock=clock, told=told)
        except TargetRefused:
            ask = partial(target.retrieve, job_id)
            job = await patiently(ask, patience=pace.closing, repeat=FOR_READS, clock=clock, told=told)
            if job.status not in ENDS:
                raise
            return job
