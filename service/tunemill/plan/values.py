"""A plan as one immutable value, and its JSON.

    {"recipe": "movie-plots", "rows": 256, "rows_looked_at": 256,
     "requests": {"planned": 512, "completed": 0, "remaining": 512},
     "steps": [{"name", "model", "provider", "requests", "completed", "input_tokens_mean", "output_tokens_mean",
                "output_tokens_max", "usd_expected", "usd_worst", "price"}],
     "tokens": {"input", "output"}, "usd": {"expected", "worst", "training", "spent", "budget"},
     "time": {"seconds", "models": [{"model", "provider", "requests", "seconds", "binds", "seconds_by_limit"}]},
     "budget": {"usd", "left", "covers_plan", "rows_covered"} or null,
     "training": {"model", "examples", "tokens", "epochs", "usd", "price"} or null,
     "prompts": [{"row", "step", "system", "prompt"}], "assumptions": ["..."], "warnings": ["..."]}

Dollars are numbers, or null where a price is not known. Estimates are for what remains to be done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tunemill.model import Json, Lane, Picodollars, usd
from tunemill.pricing import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step: how many requests, how long they are, what they cost. `worst` is what the ledger would reserve."""

    name: str
    lane: Lane
    requests: int
    completed: int
    input_tokens_mean: float
    output_tokens_mean: float
    output_tokens_max: int | None
    expected: Picodollars | None
    worst: Picodollars | None
    price: Price | None

    @property
    def remaining(self) -> int:
        return max(self.requests - self.completed, 0)

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "model": self.lane.model,
            "provider": self.lane.provider,
            "requests": self.requests,
            "completed": self.completed,
            "input_tokens_mean": round(self.input_tokens_mean, 1),
            "output_tokens_mean": round(self.output_tokens_mean, 1),
            "output_tokens_max": self.output_tokens_max,
            "usd_expected": _usd(self.expected),
            "usd_worst": _usd(self.worst),
            "price": None if self.price is None else price_json(self.price),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """One model of one provider: the seconds that each limit alone would take; `binds` is the slowest."""

    lane: Lane
    requests: int
    seconds_by_limit: Mapping[str, float]

    @property
    def binds(self) -> str:
        return max(self.seconds_by_limit, key=lambda limit: self.seconds_by_limit[limit])

    @property
    def seconds(self) -> float:
        return max(self.seconds_by_limit.values())

    def to_json(self) -> dict[str, Json]:
        return {
            "model": self.lane.model,
            "provider": self.lane.provider,
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
            "binds": self.binds,
            "seconds_by_limit": {limit: round(seconds, 1) for limit, seconds in self.seconds_by_limit.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan:
    """What the budget covers at the expected cost, training aside. `rows_covered` counts rows not yet begun."""

    budget: Picodollars
    spent: Picodollars
    covers_plan: bool
    rows_covered: int

    def to_json(self) -> dict[str, Json]:
        return {
            "usd": usd(self.budget),
            "left": usd(max(self.budget - self.spent, 0)),
            "covers_plan": self.covers_plan,
            "rows_covered": self.rows_covered,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The fine-tuning job, if every row is kept. `tokens` are of one epoch."""

    model: str
    examples: int
    tokens: int
    epochs: int
    cost: Picodollars | None
    price: Price | None

    def to_json(self) -> dict[str, Json]:
        return {
            "model": self.model,
            "examples": self.examples,
            "tokens": self.tokens,
            "epochs": self.epochs,
            "usd": _usd(self.cost),
            "price": None if self.price is None else price_json(self.price),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPrompt:
    """One rendered request. `system` is "" where there is none."""

    row_id: str
    step: str
    system: str
    prompt: str

    def to_json(self) -> dict[str, Json]:
        return {"row": self.row_id, "step": self.step, "system": self.system or None, "prompt": self.prompt}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that `plan` shows."""

    recipe: str
    rows: int
    rows_looked_at: int
    steps: tuple[StepPlan, ...]
    lanes: tuple[LanePlan, ...]
    seconds: float
    budget: BudgetPlan | None
    training: TrainingPlan | None
    prompts: tuple[ShownPrompt, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def requests(self) -> int:
        return sum(step.requests for step in self.steps)

    @property
    def expected(self) -> Picodollars | None:
        """For what remains, training aside; None where a price is not known."""
        return _sum(step.expected for step in self.steps)

    @property
    def worst(self) -> Picodollars | None:
        """As `expected`, if every answer is as long as it may be; None also where nothing bounds an answer."""
        return _sum(step.worst for step in self.steps)

    def to_json(self) -> dict[str, Json]:
        """The shape at the top of this file."""
        completed = sum(step.completed for step in self.steps)
        return {
            "recipe": self.recipe,
            "rows": self.rows,
            "rows_looked_at": self.rows_looked_at,
            "requests": {"planned": self.requests, "completed": completed, "remaining": self.requests - completed},
            "steps": [step.to_json() for step in self.steps],
            "tokens": {
                "input": round(sum(step.remaining * step.input_tokens_mean for step in self.steps)),
                "output": round(sum(step.remaining * step.output_tokens_mean for step in self.steps)),
            },
            "usd": {
                "expected": _usd(self.expected),
                "worst": _usd(self.worst),
                "training": None if self.training is None else _usd(self.training.cost),
                "spent": None if self.budget is None else usd(self.budget.spent),
                "budget": None if self.budget is None else usd(self.budget.budget),
            },
            "time": {"seconds": round(self.seconds, 1), "models": [lane.to_json() for lane in self.lanes]},
            "budget": None if self.budget is None else self.budget.to_json(),
            "training": None if self.training is None else self.training.to_json(),
            "prompts": [prompt.to_json() for prompt in self.prompts],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
        }


def price_json(price: Price) -> dict[str, Json]:
    """A price in dollars per million tokens, as people read it."""
    per_million = {
        "input": price.rates.input,
        "cached_input": price.rates.cached_input,
        "output": price.rates.output,
        "training": price.training,
    }
    shown: dict[str, Json] = {name: None if rate is None else rate / 10**6 for name, rate in per_million.items()}
    return {"per_million": shown, "source": price.source}


def _usd(amount: Picodollars | None) -> float | None:
    return None if amount is None else usd(amount)


def _sum(amounts: Iterable[Picodollars | None]) -> Picodollars | None:
    known = list(amounts)
    return None if any(amount is None for amount in known) else sum(amount for amount in known if amount is not None)
