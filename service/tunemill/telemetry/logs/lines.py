"""Events as log lines: which name, which level, which fields. One line for each outcome; no prompt, no text, no key."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from structlog.typing import FilteringBoundLogger

from tunemill.events import (
    AttemptFailed,
    BudgetChanged,
    BudgetShort,
    CircuitChanged,
    Completed,
    DatasetBuilt,
    Event,
    Failed,
    FineTuneChanged,
    JournalCommitted,
    LimitChanged,
    RecipeReloaded,
    RunStarted,
    Sent,
    StateChanged,
    Subscriber,
)
from tunemill.model import Lane, Picodollars, RunState, usd
from tunemill.statistics import RunStatistics
from tunemill.telemetry.safe_text import one_line
from tunemill.telemetry.words import go_on_words

_MESSAGE_CHARS_MAX = 500
_Fields: TypeAlias = Mapping[str, object]


def log_events(logger: FilteringBoundLogger, *, calm: bool = False, brief: bool = False) -> Subscriber:
    """A subscriber that logs each event.

    With `calm` (a live display shows the same) everything goes to debug, so that the screen holds still, except what
    the display forgets and a person wants to find again: that a circuit opened and closed, and what was changed in
    mid-run. With `brief` (progress lines for people say the same) what happens with every request goes to debug, but
    for what failed for good. Sent and JournalCommitted are debug always.
    """

    def subscriber(event: Event) -> None:
        level = _level(event)
        if (calm and not _is_lasting(event)) or (brief and isinstance(event, Completed | AttemptFailed)):
            level = logging.DEBUG
        if logger.is_enabled_for(level):
            logger.log(level, _name(event), **_fields(event))

    return subscriber


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What the last line of a run says beside its figures. `duration_s` is this process's."""

    folder: str
    rows: int
    duration_s: float
    lines_lost: int


def log_run_ended(logger: FilteringBoundLogger, statistics: RunStatistics, end: RunEnd, *, calm: bool = False) -> None:
    """The last line of a run, with all that is asked the next morning: the figures of `status --json`, how long it
    took, and how to go on. Debug with `calm`: the display ends with them too."""
    logger.log(
        logging.DEBUG if calm else _level_of_state(statistics.state),
        "run_ended",
        **statistics.to_json(),
        rows=end.rows,
        duration_s=round(end.duration_s, 1),
        folder=end.folder,
        next=go_on_words(statistics.state),
        log_lines_lost=end.lines_lost,
    )


def _is_lasting(event: Event) -> bool:
    if isinstance(event, LimitChanged):
        return event.cause == "configured"
    return isinstance(event, CircuitChanged | BudgetChanged | RecipeReloaded)


def _level(event: Event) -> int:
    match event:
        case Sent() | JournalCommitted():
            return logging.DEBUG
        case Completed() | AttemptFailed() | LimitChanged():
            return logging.INFO
        case Failed():
            return logging.WARNING
        case CircuitChanged():
            return logging.WARNING if event.is_open else logging.INFO
        case BudgetShort():
            return logging.WARNING
        case RecipeReloaded():
            return logging.INFO if event.is_accepted else logging.WARNING
        case StateChanged():
            return _level_of_state(event.state)
        case FineTuneChanged():
            # A target tells every few training steps how it gets on; what changes the status is told apart from that.
            return logging.DEBUG if event.what == "event" else logging.INFO
        case RunStarted() | DatasetBuilt() | BudgetChanged():
            return logging.INFO
        case _:
            assert_never(event)


def _level_of_state(state: RunState) -> int:
    match state:
        case RunState.FAILED | RunState.REFUSED:
            return logging.ERROR
        case RunState.INTERRUPTED | RunState.BUDGET_REACHED | RunState.FINISHED_WITH_FAILURES:
            return logging.WARNING
        case RunState.IDLE | RunState.RUNNING | RunState.PAUSED | RunState.DRAINING | RunState.FINISHED:
            return logging.INFO
        case _:
            assert_never(state)


def _name(event: Event) -> str:
    """The constant name under which an event is logged."""
    if isinstance(event, CircuitChanged):
        return "circuit_opened" if event.is_open else "circuit_closed"
    if isinstance(event, RecipeReloaded):
        return "recipe_reloaded" if event.is_accepted else "recipe_reload_refused"
    return _NAMES[type(event)]


_NAMES: dict[type, str] = {
    RunStarted: "run_started",
    Sent: "request_sent",
    AttemptFailed: "attempt_failed",
    Completed: "request_completed",
    Failed: "request_failed",
    LimitChanged: "limit_changed",
    JournalCommitted: "journal_committed",
    BudgetShort: "budget_short",
    BudgetChanged: "budget_changed",
    StateChanged: "state_changed",
    DatasetBuilt: "dataset_built",
    FineTuneChanged: "fine_tune_changed",
}


def _fields(event: Event) -> _Fields:
    match event:
        case Sent():
            return {**_request(event), "sample": event.sample, "attempt": event.attempt}
        case JournalCommitted():
            return {"lines": event.lines, "bytes": event.bytes_written, "seconds": round(event.seconds, 6)}
        case Completed():
            return _completed(event)
        case AttemptFailed():
            return _attempt_failed(event)
        case Failed():
            return _failed(event)
        case LimitChanged():
            return {**_lane(event.lane), "kind": event.kind, "limit": round(event.limit, 3), "cause": event.cause}
        case CircuitChanged():
            return {**_lane(event.lane), "failures": event.failures, **_reason(event.reason)}
        case BudgetChanged():
            return {"before_usd": _usd(event.before), "after_usd": _usd(event.after)}
        case RecipeReloaded():
            return {"message": _message(event.message)}
        case RunStarted() | BudgetShort() | StateChanged() | DatasetBuilt() | FineTuneChanged():
            return _run_fields(event)
        case _:
            assert_never(event)


def _run_fields(event: RunStarted | BudgetShort | StateChanged | DatasetBuilt | FineTuneChanged) -> _Fields:
    match event:
        case RunStarted():
            return {
                "run": event.run,
                "rows": event.rows,
                "planned": event.requests_planned,
                "completed": event.requests_completed,
                "simulated": event.simulated,
            }
        case BudgetShort():
            return {
                "budget_usd": usd(event.budget),
                "forecast_usd": usd(event.forecast),
                "rows_that_fit": event.rows_that_fit,
                "rows_planned": event.rows_planned,
            }
        case StateChanged():
            return {"state": event.state.value, "reason": _message(event.reason)}
        case DatasetBuilt():
            return {
                "train": event.train,
                "validation": event.validation,
                "rejected": event.rejected,
                "seconds": round(event.seconds, 3),
            }
        case FineTuneChanged():
            return {
                "what": event.what,
                "fine_tuning_job": event.fine_tuning_job_id,
                "status": event.status,
                "message": _message(event.message),
            }
        case _:
            assert_never(event)


def _completed(event: Completed) -> _Fields:
    usage = event.usage
    return {
        **_request(event),
        "sample": event.sample,
        "attempt": event.attempt,
        "outcome": one_line(event.outcome, chars_max=_MESSAGE_CHARS_MAX),
        "input_tokens": None if usage is None else usage.input,
        "output_tokens": None if usage is None else usage.output,
        "usd": usd(event.cost),
        "duration_s": round(event.duration_s, 3),
    }


def _attempt_failed(event: AttemptFailed) -> _Fields:
    return {
        **_request(event),
        "attempt": event.attempt,
        "kind": event.kind.value,
        "status": event.status,
        "delay_s": round(event.delay_s, 3),
        "duration_s": round(event.duration_s, 3),
        "message": _message(event.message),
    }


def _failed(event: Failed) -> _Fields:
    return {
        **_request(event),
        "sample": event.sample,
        "attempts": event.attempts,
        "kind": event.kind.value,
        "duration_s": None if event.duration_s is None else round(event.duration_s, 3),
        "message": _message(event.message),
    }


def _request(event: Sent | Completed | AttemptFailed | Failed) -> _Fields:
    return {"request_id": event.request_id, "row": event.row_id, "step": event.step, **_lane(event.lane)}


def _lane(lane: Lane) -> _Fields:
    if lane.provider:
        return {"provider": lane.provider, "model": lane.model}
    return {"model": lane.model}


def _reason(text: str) -> _Fields:
    return {"reason": _message(text)} if text else {}


def _usd(amount: Picodollars | None) -> float | None:
    return None if amount is None else usd(amount)


def _message(text: str) -> str:
    """A provider's words, short and on one line: it may have sent a whole error page."""
    return one_line(text, chars_max=_MESSAGE_CHARS_MAX)
