"""The engine's events and sentences, made from what it holds at the moment."""

from collections.abc import Sequence

from tunemill.answers import outcome_of
from tunemill.engine.budget import Budget
from tunemill.engine.work import Job, Place, Step
from tunemill.events import AttemptFailed, Completed, Failed, Sent
from tunemill.model import Completion, Failure, FailureKind, Picodollars, usd


def sent(job: Job) -> Sent:
    """An attempt left."""
    request = job.request
    return Sent(
        request_id=request.id,
        row_id=request.row_id,
        step=request.step,
        sample=request.sample,
        attempt=job.attempts,
        lane=request.lane,
    )


def completed(job: Job, completion: Completion, cost: Picodollars, duration_s: float) -> Completed:
    """An answer is durable."""
    request = job.request
    return Completed(
        request_id=request.id,
        row_id=request.row_id,
        step=request.step,
        sample=request.sample,
        attempt=job.attempts,
        lane=request.lane,
        outcome=outcome_of(completion),
        usage=completion.usage,
        cost=cost,
        duration_s=duration_s,
        text=completion.text,
    )


def attempt_failed(job: Job, failure: Failure, delay_s: float, duration_s: float) -> AttemptFailed:
    """An attempt failed and the request will be tried again."""
    request = job.request
    return AttemptFailed(
        request_id=request.id,
        row_id=request.row_id,
        step=request.step,
        attempt=job.attempts,
        lane=request.lane,
        kind=failure.kind,
        status=failure.status,
        delay_s=delay_s,
        duration_s=duration_s,
        message=failure.message,
    )


def failed(job: Job, failure: Failure, duration_s: float | None) -> Failed:
    """A request failed for good."""
    request = job.request
    return Failed(
        request_id=request.id,
        row_id=request.row_id,
        step=request.step,
        sample=request.sample,
        attempts=job.attempts,
        lane=request.lane,
        kind=failure.kind,
        message=failure.message,
        duration_s=duration_s,
    )


def set_aside(request_id: str, place: Place, step: Step, kind: FailureKind, message: str) -> Failed:
    """A place for which nothing could be sent."""
    return Failed(
        request_id=request_id,
        row_id=place.row.id,
        step=step.name,
        sample=place.sample,
        attempts=0,
        lane=step.lane,
        kind=kind,
        message=message,
        duration_s=None,
    )


def none_fits(budget: Budget, worst: Sequence[Picodollars]) -> str:
    """Why the run ends although not all is spent: what is left, and what those in line may cost at most."""
    assert budget.cap is not None
    left = max(0, budget.cap - budget.settled - budget.uncertain)
    said = f"no request in line fits the {_dollars(left)} that is left of the budget of {_dollars(budget.cap)}"
    never = [amount for amount in worst if amount > budget.cap]
    if len(never) == len(worst):
        return (
            f"the budget of {_dollars(budget.cap)} is smaller than what any request in line may cost "
            f"({_dollars(min(worst))} or more): raise it, or lower max_tokens"
        )
    said += f": the smallest may cost {_dollars(min(worst))}"
    if never:
        said += f", and {len(never)} may cost more than the whole budget (up to {_dollars(max(never))})"
    return said


def _dollars(amount: Picodollars) -> str:
    """All digits that matter, and no more."""
    return f"${usd(amount):,.6f}".rstrip("0").rstrip(".")
