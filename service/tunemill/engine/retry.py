"""What to do about a failed attempt, as a value: give the request up, try it again, or stop the run.

Pure: the failure, the counts and the time go in; nothing sleeps here. tenacity keeps the stop rule and the curve of the
delays; jitter is drawn from a generator that the caller owns.
"""

from dataclasses import dataclass
from random import Random
from typing import TypeAlias, assert_never

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_exponential

from tunemill.model import Failure, FailureKind, WaitReason

# A 429 is no attempt, and nor is a connection that was not made: no request can help it. Time is what bounds them.
NO_ATTEMPT = frozenset({FailureKind.RATE_LIMITED, FailureKind.NOT_CONNECTED})
DELAY_MIN_S = 0.5
DELAY_MAX_S = 60.0

_CURVE = wait_exponential(multiplier=DELAY_MIN_S, min=DELAY_MIN_S, max=DELAY_MAX_S)
_NOBODY = AsyncRetrying()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLimits:
    """`attempts_max` sendings that fail for the request's own sake; `outage_max_s` for what is not its fault."""

    attempts_max: int
    outage_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The request fails for good; the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Send it again after `delay_s`. `counts` says whether this attempt uses up one of `attempts_max`."""

    delay_s: float
    reason: WaitReason
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun:
    """No request can succeed any more; `message` is the one sentence for the person."""

    message: str


Decision: TypeAlias = GiveUp | TryAgain | StopRun


def decide(
    failure: Failure,
    *,
    attempts: int,
    troubled_s: float,
    limits: RetryLimits,
    is_outage: bool,
    others_pass: bool,
    random: Random,
) -> Decision:
    """The answer to a failure.

    `attempts` counts the failed attempts of this sort (refusals, or those that count), this one included; `troubled_s`
    is how long this request has been refused or the provider been out; `is_outage` says that the circuit is open, when
    nothing counts; `others_pass` says that other requests were answered while this one was refused.
    """
    match failure.kind:
        case FailureKind.BAD_KEY | FailureKind.QUOTA_EXHAUSTED | FailureKind.MODEL_UNKNOWN:
            return StopRun(message=failure.message)
        case FailureKind.BAD_REQUEST | FailureKind.TOO_LARGE | FailureKind.UPSTREAM_FAILED:
            return GiveUp()
        case FailureKind.RATE_LIMITED | FailureKind.NOT_CONNECTED:
            if others_pass and troubled_s > limits.outage_max_s:
                return GiveUp()
            return _again(failure, attempts, troubled_s, limits, counts=False, is_outage=is_outage, random=random)
        case FailureKind.INTERRUPTED:
            # We stopped it ourselves: it says nothing of the request, which the next process sends again.
            return TryAgain(delay_s=0.0, reason=WaitReason.BACKOFF, counts=False)
        case (
            FailureKind.OVERLOADED
            | FailureKind.SERVER_ERROR
            | FailureKind.GATEWAY_ERROR
            | FailureKind.TIMEOUT
            | FailureKind.DISCONNECTED
            | FailureKind.BAD_REPLY
        ):
            if not is_outage and stop_after_attempt(limits.attempts_max)(_state(attempts)):
                return GiveUp()
            return _again(
                failure, attempts, troubled_s, limits, counts=not is_outage, is_outage=is_outage, random=random
            )
        case _:
            assert_never(failure.kind)


def _again(
    failure: Failure,
    attempts: int,
    troubled_s: float,
    limits: RetryLimits,
    *,
    counts: bool,
    is_outage: bool,
    random: Random,
) -> Decision:
    # In an outage the probes go out all the same; what was asked for is asked for by somebody who is not well.
    asked = None if is_outage and failure.kind is not FailureKind.RATE_LIMITED else failure.retry_after_s
    if not counts and troubled_s + (asked or 0.0) > limits.outage_max_s:
        return StopRun(message=outage_too_long(limits, asked_s=asked or 0.0, last=failure.message))
    delay_s = _CURVE(_state(attempts)) * random.uniform(0.5, 1.0)
    if asked is not None and asked >= delay_s:
        return TryAgain(delay_s=min(asked, limits.outage_max_s), reason=WaitReason.RETRY_AFTER, counts=counts)
    return TryAgain(delay_s=delay_s, reason=WaitReason.BACKOFF, counts=counts)


def outage_too_long(limits: RetryLimits, *, asked_s: float = 0.0, last: str) -> str:
    """The sentence with which a run ends that has waited for its provider for too long."""
    asked = f"; it asks for another {asked_s:g} s" if asked_s else ""
    most = f"limits.outage_max_s = {limits.outage_max_s:g}"
    return f"the provider has accepted nothing for too long ({most}{asked}); last: {last}"


def _state(attempts: int) -> RetryCallState:
    state = RetryCallState(_NOBODY, None, (), {})
    state.attempt_number = max(1, attempts)
    return state
