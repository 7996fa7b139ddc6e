"""What a display remembers of the events: the last completion, the last few failures, which circuits are open.

Bounded, whatever happens. Taking an event costs next to nothing; cleaning up its text is left to whoever shows it.
"""

from collections import deque
from typing import assert_never

from tunemill.events import (
    AttemptFailed,
    BudgetShort,
    CircuitChanged,
    Completed,
    DatasetBuilt,
    Event,
    Failed,
    FineTuneChanged,
    JournalCommitted,
    LimitChanged,
    RunStarted,
    Sent,
    StateChanged,
)
from tunemill.model import Lane

_FAILURES_MAX = 3
_FINE_TUNE_EVENTS_MAX = 4


class RecentEvents:
    """A subscriber (`on_event`) and what it remembers; each attribute is empty until there is something."""

    __slots__ = ("budget_short", "circuits", "completed", "dataset", "failures", "fine_tune", "state")

    circuits: dict[Lane, CircuitChanged]

    def __init__(self) -> None:
        self.completed: Completed | None = None
        self.failures: deque[Failed | AttemptFailed] = deque(maxlen=_FAILURES_MAX)
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
            case Failed() | AttemptFailed():
                self.failures.append(event)
            case CircuitChanged():
                self._circuit(event)
            case Sent() | JournalCommitted() | LimitChanged() | RunStarted():
                pass
            case BudgetShort():
                self.budget_short = event
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
