"""A run's figures at one moment, as one immutable value, and the one JSON shape in which everybody sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunemill.model import FailureKind, Json, JsonObject, Picodollars, RunState, picodollars, usd


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

    `forecast` is what the whole run will have cost if it goes on as it did so far, training included.
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
class JournalLevel:
    """How the journal's writer of this process gets on: lines that are not durable yet, how long the write that is
    under way has been taking (0 where none is), and how many failed (after the first nothing is written any more)."""

    lines_pending: int = 0
    write_s: float = 0.0
    write_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatistics:
    """Everything that `status`, `/status`, the metrics, the progress display and the last log line show.

    Counts and dollars are the run's, across restarts, except `rate`, `limits`, `circuits` and `journal`, which are the
    process's.
    Keys: `waiting_for` by wait reason; `finished` by (step, outcome); `attempts` by (step, result);
    `tokens` by (step, kind) with kinds input, cached_input, output, reasoning. `reason` is the sentence for the state;
    `grace_left_s` is how long what is in flight will still be awaited, None where nothing is ending. `steps` are the
    recipe's, `circuits` says by model whether only probes leave, `rows_beyond_budget` is about how many rows will not
    fit (None: unknown), and `last_answer_at` when the last answer became durable, or this process began to look for
    one, in seconds since the epoch.
    """

    run: str
    state: RunState
    simulated: bool
    requests: RequestCounts
    money: Money
    reason: str = ""
    grace_left_s: float | None = None
    waiting_for: Mapping[str, int] = field(default_factory=dict)
    eta_s: float | None = None
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    finished: Mapping[tuple[str, str], int] = field(default_factory=dict)
    attempts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    tokens: Mapping[tuple[str, str], int] = field(default_factory=dict)
    limits: tuple[LimitLevel, ...] = ()
    circuits_open: int = 0
    circuits: Mapping[str, bool] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    rows_beyond_budget: int | None = None
    last_answer_at: float | None = None
    journal: JournalLevel = field(default_factory=JournalLevel)
    dataset: JsonObject | None = None
    fine_tune: JsonObject | None = None

    def tokens_of(self, kind: str) -> int:
        """Tokens of one kind over all steps."""
        return sum(count for (_, of_kind), count in self.tokens.items() if of_kind == kind)

    def failures(self) -> dict[str, int]:
        """Requests that failed for good, by the class of the failure, the most frequent first; those that were sent
        again since, too."""
        kinds = [kind.value for kind in FailureKind]
        counts = {kind: sum(n for (_, outcome), n in self.finished.items() if outcome == kind) for kind in kinds}
        return {kind: count for kind, count in sorted(counts.items(), key=lambda each: -each[1]) if count}

    def to_json(self) -> dict[str, Json]:
        """The shape that `status --json`, `/status` and the end-of-run log line share."""
        money = self.money
        return {
            "run": self.run,
            "state": self.state.value,
            "reason": self.reason,
            "grace_left_s": None if self.grace_left_s is None else round(self.grace_left_s, 1),
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
            "failures": self.failures(),
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


def statistics_from(shape: Mapping[str, Any]) -> RunStatistics:
    """What `to_json` made, read again: all that the shape holds. Raises KeyError, TypeError or ValueError."""
    money, counts, rate = shape["usd"], shape["requests"], shape["rate"]
    return RunStatistics(
        run=shape["run"],
        state=RunState(shape["state"]),
        reason=shape["reason"],
        grace_left_s=shape["grace_left_s"],
        simulated=shape["simulated"],
        requests=RequestCounts(**counts),
        money=Money(
            settled=picodollars(money["settled"]),
            uncertain=picodollars(money["uncertain"]),
            reserved=picodollars(money["reserved"]),
            budget=None if money["budget"] is None else picodollars(money["budget"]),
            forecast=None if money["forecast"] is None else picodollars(money["forecast"]),
        ),
        waiting_for=shape["waiting_for"],
        eta_s=shape["eta_s"],
        requests_per_minute=rate["requests_per_minute"],
        tokens_per_minute=rate["tokens_per_minute"],
        finished={("", kind): count for kind, count in shape.get("failures", {}).items()},
        tokens={("", kind): count for kind, count in shape["tokens"].items()},
        dataset=shape["dataset"],
        fine_tune=shape["fine_tune"],
    )
