"""How long the limits allow a plan to take, and which of them binds."""

from collections.abc import Iterable, Sequence

from tunemill.model import Lane
from tunemill.plan.values import LanePlan, StepPlan
from tunemill.recipe.sections import LimitsSection

# How long one answer takes, where nothing has been seen: to the first token, and then for each.
FIRST_TOKEN_S = 0.5
TOKENS_PER_SECOND = 60.0


def lanes_of(steps: Sequence[StepPlan], limits: LimitsSection) -> tuple[LanePlan, ...]:
    """Each model of each provider with all of its steps' remaining requests, in the order of the steps."""
    lanes = dict.fromkeys(step.lane for step in steps)
    return tuple(_lane(lane, [step for step in steps if step.lane == lane], limits) for lane in lanes)


def seconds_of(steps: Iterable[StepPlan], lanes: Sequence[LanePlan]) -> float:
    """The slowest model's time, and the time in which the last row passes through all steps. Models do not wait for
    each other."""
    if not any(lane.requests for lane in lanes):
        return 0.0
    return max(lane.seconds for lane in lanes) + sum(latency_s(step.output_tokens_mean) for step in steps)


def latency_s(output_tokens: float) -> float:
    """How long one answer of this length is taken to need."""
    return FIRST_TOKEN_S + output_tokens / TOKENS_PER_SECOND


def _lane(lane: Lane, steps: Sequence[StepPlan], limits: LimitsSection) -> LanePlan:
    own = limits.models.get(lane.model)
    requests_per_minute = (own and own.requests_per_minute) or limits.requests_per_minute
    tokens_per_minute = (own and own.tokens_per_minute) or limits.tokens_per_minute
    concurrency = (own and own.concurrency) or limits.concurrency
    requests = sum(step.remaining for step in steps)
    busy_s = sum(step.remaining * latency_s(step.output_tokens_mean) for step in steps)
    seconds = {"concurrency": busy_s / concurrency}
    if requests_per_minute is not None:
        seconds["requests_per_minute"] = requests / requests_per_minute * 60
    if tokens_per_minute is not None:
        seconds["tokens_per_minute"] = sum(_tokens_admitted(step) for step in steps) / tokens_per_minute * 60
    return LanePlan(lane=lane, requests=requests, seconds_by_limit=seconds)


def _tokens_admitted(step: StepPlan) -> float:
    """Providers count an answer at its maximum when they let a request in."""
    output = step.output_tokens_mean if step.output_tokens_max is None else step.output_tokens_max
    return step.remaining * (step.input_tokens_mean + output)
