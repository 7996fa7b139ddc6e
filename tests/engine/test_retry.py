"""What to do about a failure: the whole table."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine.retry import (
    DELAY_MAX_S,
    DELAY_MIN_S,
    Decision,
    GiveUp,
    RetryLimits,
    StopRun,
    TryAgain,
    decide,
)
from tunemill.model import Failure, FailureKind, WaitReason

K = FailureKind
STOP = {K.BAD_KEY, K.QUOTA_EXHAUSTED, K.MODEL_UNKNOWN}
GIVE_UP = {K.BAD_REQUEST, K.TOO_LARGE, K.UPSTREAM_FAILED}
PATIENT = {K.RATE_LIMITED, K.NOT_CONNECTED}
AGAIN = {
    K.OVERLOADED,
    K.SERVER_ERROR,
    K.GATEWAY_ERROR,
    K.TIMEOUT,
    K.DISCONNECTED,
    K.BAD_REPLY,
}
LIMITS = RetryLimits(attempts_max=6, outage_max_s=600.0)


def decision(
    kind: FailureKind,
    *,
    attempts: int = 1,
    troubled_s: float = 0.0,
    retry_after_s: float | None = None,
    is_outage: bool = False,
    others_pass: bool = False,
    seed: int = 0,
) -> Decision:
    failure = Failure(kind=kind, message="so it is", may_be_billed=False, retry_after_s=retry_after_s)
    return decide(
        failure,
        attempts=attempts,
        troubled_s=troubled_s,
        limits=LIMITS,
        is_outage=is_outage,
        others_pass=others_pass,
        random=Random(seed),
    )


ANYTHING = {
    "attempts": st.integers(1, 1000),
    "troubled_s": st.floats(0, 1e6),
    "retry_after_s": st.none() | st.floats(0, 1e6),
    "is_outage": st.booleans(),
    "others_pass": st.booleans(),
    "seed": st.integers(),
}


def test_every_kind_is_in_the_table() -> None:
    """A new kind of failure has to be decided about."""
    assert STOP | GIVE_UP | AGAIN | PATIENT | {K.INTERRUPTED} == set(FailureKind)


@given(st.sampled_from(sorted(STOP, key=str)), st.fixed_dictionaries(ANYTHING))
def test_what_dooms_all_stops_whatever_the_counts(kind: FailureKind, facts: dict[str, Any]) -> None:
    """Bad key, exhausted quota, unknown model: the provider's own sentence is the reason."""
    assert decision(kind, **facts) == StopRun(message="so it is")


@given(st.sampled_from(sorted(GIVE_UP, key=str)), st.fixed_dictionaries(ANYTHING))
def test_what_can_never_work_is_given_up_at_once(kind: FailureKind, facts: dict[str, Any]) -> None:
    """No second try for a request that is wrong in itself."""
    assert decision(kind, **facts) == GiveUp()


@given(st.fixed_dictionaries(ANYTHING))
def test_what_we_stopped_ourselves_is_never_given_up(facts: dict[str, Any]) -> None:
    """Nor does it count, whatever happened before."""
    decided = decision(K.INTERRUPTED, **facts)
    assert isinstance(decided, TryAgain)
    assert not decided.counts


@pytest.mark.parametrize("kind", sorted(AGAIN, key=str))
def test_attempts_run_out(kind: FailureKind) -> None:
    """The sixth of six is the last, unless there is an outage, in which nothing counts."""
    for attempts in range(1, 6):
        decided = decision(kind, attempts=attempts)
        assert isinstance(decided, TryAgain)
        assert decided.counts
    assert decision(kind, attempts=6) == GiveUp()
    in_outage = decision(kind, attempts=6, is_outage=True, troubled_s=599.0)
    assert isinstance(in_outage, TryAgain)
    assert not in_outage.counts
    assert isinstance(decision(kind, attempts=1, is_outage=True, troubled_s=601.0), StopRun)


@given(st.integers(1, 10**6), st.sampled_from(sorted(PATIENT, key=str)))
def test_a_429_or_nobody_there_uses_up_no_attempt(attempts: int, kind: FailureKind) -> None:
    """However many there were: it is the time that bounds it."""
    decided = decision(kind, attempts=attempts, troubled_s=600.0)
    assert isinstance(decided, TryAgain)
    assert not decided.counts


def test_a_429_for_too_long_stops_the_run_or_sets_the_one_aside() -> None:
    """Where nothing passes nothing will; where others pass, it is this request that never will."""
    stopped = decision(K.RATE_LIMITED, troubled_s=601.0)
    assert isinstance(stopped, StopRun)
    assert "outage_max_s = 600" in stopped.message
    assert "so it is" in stopped.message
    assert decision(K.RATE_LIMITED, troubled_s=601.0, others_pass=True) == GiveUp()


def test_a_wait_that_is_longer_than_we_are_willing_to_wait_stops_the_run() -> None:
    """A Retry-After beyond outage_max_s is not sat out."""
    stopped = decision(K.RATE_LIMITED, retry_after_s=3600.0)
    assert isinstance(stopped, StopRun)
    assert "3600" in stopped.message
    assert isinstance(decision(K.RATE_LIMITED, troubled_s=500.0, retry_after_s=200.0), StopRun)


@given(st.sampled_from(sorted(AGAIN | PATIENT, key=str)), st.fixed_dictionaries(ANYTHING))
def test_delays_stay_within_their_bounds(kind: FailureKind, facts: dict[str, Any]) -> None:
    """At least what the provider asked for, or our curve with its jitter; never longer than an outage may be."""
    decided = decision(kind, **facts)
    if not isinstance(decided, TryAgain):
        return
    asked = facts["retry_after_s"]
    curve = min(DELAY_MAX_S, max(DELAY_MIN_S, DELAY_MIN_S * 2.0 ** min(facts["attempts"] - 1, 20)))
    if decided.reason is WaitReason.RETRY_AFTER:
        assert decided.delay_s == min(asked, LIMITS.outage_max_s)
    else:
        assert decided.reason is WaitReason.BACKOFF
        assert curve / 2 <= decided.delay_s <= curve
        ignored = facts["is_outage"] and kind is not K.RATE_LIMITED  # whoever is not well asks for no particular time
        assert asked is None or asked < decided.delay_s or ignored


def test_asked_for_nothing_is_not_at_once() -> None:
    """Retry-After: 0 is no invitation to a storm."""
    decided = decision(K.RATE_LIMITED, retry_after_s=0.0, attempts=5)
    assert isinstance(decided, TryAgain)
    assert decided.delay_s >= 4.0


def test_jitter_comes_from_the_generator_that_was_given() -> None:
    """The same seed, the same delays; another, others."""
    of_seed = [[decision(K.TIMEOUT, attempts=count, seed=seed) for count in range(1, 6)] for seed in (1, 1, 2)]
    assert of_seed[0] == of_seed[1] != of_seed[2]
