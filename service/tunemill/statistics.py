"""A run's figures at one moment, as one immutable value, and the one JSON shape in which everybody sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunemill.model import Json, JsonObject, Picodollars, RunState, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """planned = completed + failed + waiting + in_flight, always."""

    planned: int
    completed: int
    failed: int
    waiting: int
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The ledger. settled + uncertain + reserved <= budget, always; `budget` is None where there is none.

    `forecast` is what the whole run will have cost if it goes on as it did so far.
    """

    settled: Picodollars
    uncertain: Picodollars
    reserved: Picodollars
    budget: Picodollars | None
    forecast: Picodollars | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLevel:
    """One limit of one model and how much of it is used.

    `kind` is requests_per_minute, tokens_per_minute or concurrency.
    """

    model: str
    kind: str
    limit: float
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatistics:
    """Everything that `status`, `/status`, the metrics, the progress display and the last log line show.

    Counts and dollars are the run's, across restarts, except `rate` and `limits`, which are the process's.
    Keys: `waiting_for` by wait reason; `finished` by (step, outcome); `attempts` by (step, result);
    `tokens` by (step, kind) with kinds input, cached_input, output, reasoning.
    """

    run: str
    state: RunState
    simulated: bool
    requests: RequestCounts
    money: Money
    waiting_for: Mapping[str, int] = field(default_factory=dict)
    eta_s: float | None = None
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    finished: Mapping[tuple[str, str], int] = field(default_factory=dict)
    attempts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    tokens: Mapping[tuple[str, str], int] = field(default_factory=dict)
    limits: tuple[LimitLevel, ...] = ()
    circuits_open: int = 0
    dataset: JsonObject | None = None
    fine_tune: JsonObject | None = None

    def tokens_of(self, kind: str) -> int:
        """Tokens of one kind over all steps."""
        return sum(count for (_, of_kind), count in self.tokens.items() if of_kind == kind)

    def to_json(self) -> dict[str, Json]:
        """The shape that `status --json`, `/status` and the end-of-run log line share."""
        money = self.money
        return {
            "run": self.run,
            "state": self.state.value,
            "simulated": self.simulated,
            "waiting_for": dict(self.waiting_for),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "requests": {
                "planned": self.requests.planned,
                "completed": self.requests.completed,
                "failed": self.requests.failed,
                "waiting": self.requests.waiting,
                "in_flight": self.requests.in_flight,
            },
            "usd": {
                "settled": usd(money.settled),
                "uncertain": usd(money.uncertain),
                "reserved": usd(money.reserved),
                "budget": None if money.budget is None else usd(money.budget),
                "forecast": None if money.forecast is None else usd(money.forecast),
            },
            "tokens": {kind: self.tokens_of(kind) for kind in ("input", "cached_input", "output", "reasoning")},
            "rate": {
                "requests_per_minute": round(self.requests_per_minute, 1),
                "tokens_per_minute": round(self.tokens_per_minute),
            },
            "dataset": self.dataset,
            "fine_tune": self.fine_tune,
        }
