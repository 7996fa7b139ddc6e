"""`submit`, `watch`, `cancel`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tunemill.app.folder import existing
from tunemill.app.open_run import RecordedRun
from tunemill.app.stages import locked, submit_run, tuning_of
from tunemill.app.tuning import Tuning, raise_unless_tuned, submission_notes
from tunemill.cli.output import positive, print_json, talk
from tunemill.events import Event, FineTuneChanged
from tunemill.finetune.cancel import AlreadyEnded, Cancelled, CancelRequested
from tunemill.finetune.decide import OverBudget
from tunemill.finetune.record import FineTuneRecord

BUDGET_REACHED = 3
T = TypeVar("T")


def submit_command(name: str, *, again: bool, budget: float | None, as_json: bool) -> None:
    """Submit; leaves with 3 where the budget does not cover the training."""
    positive("--budget", budget)
    result = _with_target(name, lambda run, stage: submit_run(run, stage, again=again, budget_usd=budget))
    for note in submission_notes(result):
        talk(f"note: {note}")
    _print_record(result.record, as_json=as_json)
    if isinstance(result, OverBudget):
        raise SystemExit(BUDGET_REACHED)


def watch_command(name: str, *, as_json: bool) -> None:
    """Watch; leaves with 6 where the job ends without a model."""
    ended = _with_target(name, lambda _, stage: stage.watch())
    _print_record(ended.record, as_json=as_json)
    raise_unless_tuned(ended)


def cancel_command(name: str, *, as_json: bool) -> None:
    """Cancel, or say that there was nothing to cancel."""
    result = _with_target(name, lambda _, stage: stage.cancel())
    match result:
        case CancelRequested():
            talk(f"fine-tuning job {result.job_id} will stop; it is {result.status or 'still there'} for now")
        case Cancelled():
            talk(f"fine-tuning job {result.ended.job_id} is cancelled")
            _print_record(result.ended.record, as_json=as_json)
        case AlreadyEnded():
            talk(f"fine-tuning job {result.ended.job_id} had ended before: {result.ended.outcome.status}")
            _print_record(result.ended.record, as_json=as_json)


def _with_target(name: str, work: Callable[[RecordedRun, Tuning], Awaitable[T]]) -> T:
    async def working() -> T:
        with locked(existing(name)) as run:
            async with tuning_of(run, os.environ, _tell) as stage:
                return await work(run, stage)

    return asyncio.run(working())


def _tell(event: Event) -> None:
    if isinstance(event, FineTuneChanged):
        status = f" [{event.status}]" if event.status else ""
        talk(f"{event.what}{status} {event.message}".strip())


def _print_record(record: FineTuneRecord, *, as_json: bool) -> None:
    summary = record.summary()
    if as_json:
        print_json(summary)
        return
    for key in ("state", "status", "job_id", "base_model", "model", "usd_estimated", "usd", "error"):
        if summary.get(key) not in {None, ""}:
            talk(f"{key:<14} {summary[key]}")
