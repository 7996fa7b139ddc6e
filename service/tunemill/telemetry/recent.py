"""What a display remembers of the events: the last completion, the last few failures, retries, open circuits.

Bounded, whatever happens. Taking an event costs next to nothing; cleaning up its text is left to whoever shows it.
"""

from collections import Counter, deque
from typing import assert_never

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
)
from tunemill.model import FailureKind, Lane

_FAILURES_MAX = 3
_FINE_TUNE_EVENTS_MAX = 10


class RecentEvents:
    """A subscriber (`on_event`) and what it remembers; each attribute is empty until there is something."""

    __slots__ = (
        "budget_short",
        "circuits",
        "completed",
        "dataset",
        "failure_of",
        "failures",
        "fine_tune",
        "retries",
        "retry",
        "state",
    )

    circuits: dict[Lane, CircuitChanged]

    def __init__(self) -> None:
        self.completed: Completed | None = None
        self.failures: deque[Failed] = deque(maxlen=_FAILURES_MAX)
        self.failure_of: dict[FailureKind, Failed] = {}  # the last of each kind
        self.retries: Counter[str] = Counter()  # attempts that failed and are made again, by the kind of failure
        self.retry: AttemptFailed | None = None  # the last of them
        self.circuits = {}  # the open ones
        self.budget_short: BudgetShort | None = None
        self.state: StateChanged | None = None
        self.dataset: DatasetBuilt | None = None
        self.fine_tune: deque[FineTuneChanged] = deque(maxlen=_FINE_TUNE_EVENTS_MAX)

    def on_event(self, event: Event) -> None:
        """Remember what will be shown of it."""
        match event:
            case Completed():
                self.completed = event
            case Failed():
                self.failures.append(event)
                self.failure_of[event.kind] = event
            case AttemptFailed():
                self.retries[event.kind.value] += 1
                self.retry = event
            case CircuitChanged():
                self._circuit(event)
            case Sent() | JournalCommitted() | LimitChanged() | RunStarted() | RecipeReloaded():
                pass
            case BudgetShort():
                self.budget_short = event
            case BudgetChanged():
                self.budget_short = None
            case StateChanged():
                self.state = event
            case DatasetBuilt():
                self.dataset = event
            case FineTuneChanged():
                self.fine_tune.append(event)
            case _:
                assert_never(event)

    def _circuit(self, event: CircuitChanged) -> None:
        if event.is_open:
            self.circuits[event.lane] = event
        else:
            self.circuits.pop(event.lane, None)
