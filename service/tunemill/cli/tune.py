"""`submit`, `watch`, `cancel`."""

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tunemill.app.folder import existing
from tunemill.app.open_run import RecordedRun
from tunemill.app.recorded import locked
from tunemill.app.stages import check_target_lives, submit_run, tuning_of
from tunemill.app.tuning import Tuning, raise_unless_tuned, submission_notes
from tunemill.cli.ending import DONE
from tunemill.cli.output import print_json, print_pairs, talk
from tunemill.events import Event, FineTuneChanged
from tunemill.finetune.cancel import AlreadyEnded, Cancelled, CancelRequested
from tunemill.finetune.decide import OverBudget
from tunemill.finetune.record import FineTuneRecord, FineTuneState
from tunemill.finetune.store import load
from tunemill.model import Json, picodollars
from tunemill.telemetry import dollars, mask_secrets, one_line

BUDGET_REACHED = 3
_SHOWN = {
    "state": "state",
    "status": "status",
    "job_id": "job",
    "base_model": "base model",
    "model": "model",
    "usd_estimated": "estimated",
    "usd": "cost",
    "error": "error",
}
_EVENT_CHARS_MAX = 400
T = TypeVar("T")


def submit_command(name: str, *, again: bool, budget: float | None, as_json: bool) -> int:
    """Submit; the exit code, 3 where the budget does not cover the training."""
    result = _with_target(name, lambda run, stage: submit_run(run, stage, again=again, budget_usd=budget))
    for note in submission_notes(result):
        talk("note: " + note.replace("submit RUN", f"submit {shlex.quote(name)}"))
    current = result.record.current
    if current is not None and current.destination.simulated and result.record.state is FineTuneState.CREATED:
        talk("note: the job is simulated, and ends with this command; `tunemill run RECIPE --local` follows one")
    _print_record(result.record, as_json=as_json)
    return BUDGET_REACHED if isinstance(result, OverBudget) else DONE


def watch_command(name: str, *, as_json: bool) -> None:
    """Watch. Raises FineTuningFailed where the job ends without a model."""
    ended = _with_target(name, lambda _, stage: stage.watch(), follows=True)
    _print_record(ended.record, as_json=as_json)
    raise_unless_tuned(ended)


def cancel_command(name: str, *, as_json: bool) -> None:
    """Cancel, or say that there was nothing to cancel."""
    result = _with_target(name, lambda _, stage: stage.cancel(), follows=True)
    match result:
        case CancelRequested():
            talk(f"fine-tuning job {result.job_id} will stop; it is {result.status or 'still there'} for now")
            folder = existing(name)
            _print_record(load(folder.path, folder.name), as_json=as_json)
        case Cancelled():
            talk(f"fine-tuning job {result.ended.job_id} is cancelled")
            _print_record(result.ended.record, as_json=as_json)
        case AlreadyEnded():
            talk(f"fine-tuning job {result.ended.job_id} had ended before: {result.ended.outcome.status}")
            _print_record(result.ended.record, as_json=as_json)


def _with_target(name: str, work: Callable[[RecordedRun, Tuning], Awaitable[T]], *, follows: bool = False) -> T:
    async def working() -> T:
        with locked(existing(name)) as run:
            if follows:
                check_target_lives(run)
            async with tuning_of(run, os.environ, _tell) as stage:
                return await work(run, stage)

    return asyncio.run(working())


def _tell(event: Event) -> None:
    if isinstance(event, FineTuneChanged):
        status = f" [{event.status}]" if event.status else ""
        message = mask_secrets(one_line(event.message, chars_max=_EVENT_CHARS_MAX))
        talk(f"{event.what}{status} {message}".strip())


def _print_record(record: FineTuneRecord, *, as_json: bool) -> None:
    summary = record.summary()
    if as_json:
        print_json(summary)
        return
    known = ((label, summary.get(key)) for key, label in _SHOWN.items())
    print_pairs((label, _words(value)) for label, value in known if value not in {None, ""})


def _words(value: Json) -> str:
    return dollars(picodollars(value)) if isinstance(value, float) else str(value)
