"""What happens, as small frozen values. The engine and the stages emit them; logs, metrics and progress subscribe.

No event carries a prompt or a key. `Completed.text` is for the progress display alone and never logged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tunemill.frozen import quickly_made
from tunemill.model import FailureKind, Lane, Picodollars, RunState, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A process began to work on the run. The counts are what the journal already had."""

    run: str
    rows: int
    requests_planned: int
    requests_completed: int
    simulated: bool


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An attempt left; its `sent` line is durable."""

    request_id: str
    row_id: str
    step: str
    sample: int
    attempt: int
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt brought no completion and the request will be tried again after `delay_s` seconds."""

    request_id: str
    row_id: str
    step: str
    attempt: int
    lane: Lane
    kind: FailureKind
    status: int | None
    delay_s: float
    duration_s: float
    message: str


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A completion is durable. `outcome` is its finish reason, or "refusal" or "empty"."""

    request_id: str
    row_id: str
    step: str
    sample: int
    attempt: int
    lane: Lane
    outcome: str
    usage: Usage | None
    cost: Picodollars
    duration_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request failed for good and is set aside."""

    request_id: str
    row_id: str
    step: str
    sample: int
    attempts: int
    lane: Lane
    kind: FailureKind
    message: str
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged:
    """A limit that we keep was learned, lowered or raised. `kind` is requests, tokens or concurrency."""

    lane: Lane
    kind: str
    limit: float
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged:
    """Sustained failure or silence opened the circuit, for this reason, or the first success closed it.

    `is_silence`: nobody was answered any more, while more waits to be sent. Then it is better to wait for what is under
    way than to send it again.
    """

    lane: Lane
    is_open: bool
    failures: int
    reason: str = ""
    is_silence: bool = False


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCommitted:
    """A batch of lines was written and fsynced."""

    lines: int
    bytes_written: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShort:
    """The forecast, with the training that is to follow, is above the budget; about so many of the planned rows will
    fit."""

    budget: Picodollars
    forecast: Picodollars
    rows_that_fit: int
    rows_planned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChanged:
    """Somebody changed the cap while the run is under way; None is none."""

    before: Picodollars | None
    after: Picodollars | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeReloaded:
    """The recipe was read again while the run is under way: taken over, or refused and nothing changed."""

    is_accepted: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The run's state, with the one sentence that a person should read."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBuilt:
    """The training files are in place."""

    train: int
    validation: int
    rejected: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneChanged:
    """Something happened at the target: upload, creation, a new status, or one of its own events."""

    what: str
    fine_tuning_job_id: str | None
    status: str | None
    message: str


Event: TypeAlias = (
    RunStarted
    | Sent
    | AttemptFailed
    | Completed
    | Failed
    | LimitChanged
    | CircuitChanged
    | JournalCommitted
    | BudgetShort
    | BudgetChanged
    | RecipeReloaded
    | StateChanged
    | DatasetBuilt
    | FineTuneChanged
)
Subscriber: TypeAlias = Callable[[Event], None]
