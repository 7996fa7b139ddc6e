"""The limiter alone, on a clock that the tests own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.local.limits import Limiter, Limits, duration


def limiter(*, requests: float = math.inf, tokens: float = math.inf) -> Limiter:
    """A limiter that starts, full, at time 0."""
    return Limiter(Limits(requests_per_minute=requests, tokens_per_minute=tokens), 0.0)


def test_one_seconds_worth_is_admitted_at_once_and_no_more() -> None:
    """600 a minute are 10 a second: the eleventh at the same instant is denied, for a tenth of a second."""
    limits = limiter(requests=600)
    assert [limits.admit(1, 0.0) for _ in range(10)] == [None] * 10
    denied = limits.admit(1, 0.0)
    assert denied is not None
    assert denied.kind == "requests"
    assert denied.wait_s == pytest.approx(0.1)


def test_a_limit_below_one_a_second_still_admits_one() -> None:
    """6 a minute: one now, the next ten seconds later."""
    limits = limiter(requests=6)
    assert limits.admit(1, 0.0) is None
    assert limits.admit(1, 9.9) is not None
    assert limits.admit(1, 10.0) is None


def test_a_client_that_paces_exactly_is_never_refused() -> None:
    """Rounding must not turn an evenly spaced minute into refusals."""
    limits = limiter(requests=500)
    assert all(limits.admit(1, index * 60 / 500) is None for index in range(5_000))


def test_what_is_denied_takes_nothing() -> None:
    """A request that the token limit denies leaves the request limit as it was."""
    limits = limiter(requests=60, tokens=6000)
    assert limits.admit(100, 0.0) is None
    before = limits.requests.enforced.level
    denied = limits.admit(100, 0.0)
    assert denied is not None
    assert limits.requests.enforced.level == before


def test_more_than_a_minutes_tokens_never_fit() -> None:
    """The hosted API says so rather than asking to wait."""
    denied = limiter(tokens=1000).admit(1001, 0.0)
    assert denied is not None
    assert denied.never


def test_a_large_request_leaves_a_debt() -> None:
    """500 tokens where a second brings 100: admitted when full, and then five seconds of nothing."""
    limits = limiter(tokens=6000)
    assert limits.admit(500, 0.0) is None
    assert limits.admit(100, 4.9) is not None
    assert limits.admit(100, 5.0) is None


@given(
    rate=st.integers(60, 6000),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 300)), min_size=1, max_size=200),
)
def test_no_window_admits_more_than_its_share(rate: int, steps: list[tuple[float, int]]) -> None:
    """Whatever the arrivals, what was admitted is at most the refill, one second's worth, and one large request."""
    limits = limiter(tokens=float(rate))
    now, admitted = 0.0, 0
    for pause_s, tokens in steps:
        now += pause_s
        if limits.admit(min(tokens, rate), now) is None:
            admitted += min(tokens, rate)
    assert admitted <= rate / 60 * (now + 1) + 300 + 1e-6


def test_headers_show_the_minute_as_the_hosted_api_does() -> None:
    """After one of 500: 499 remain, and the bucket is full again in 120 ms."""
    limits = limiter(requests=500, tokens=60_000)
    limits.admit(1000, 0.0)
    assert dict(limits.headers()) == {
        b"x-ratelimit-limit-requests": b"500",
        b"x-ratelimit-remaining-requests": b"499",
        b"x-ratelimit-reset-requests": b"120ms",
        b"x-ratelimit-limit-tokens": b"60000",
        b"x-ratelimit-remaining-tokens": b"59000",
        b"x-ratelimit-reset-tokens": b"1s",
    }


def test_no_limit_announces_nothing() -> None:
    """A server without limits sends no such headers."""
    assert limiter().headers() == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.012, "12ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"), (360, "6m0s"), (3661.5, "1h1m1.5s")],
)
def test_durations_are_written_like_the_hosted_api(seconds: float, text: str) -> None:
    """12ms, 1s, 6m0s."""
    assert duration(seconds) == text


def test_what_is_given_back_can_be_taken_again() -> None:
    """But no more than a full bucket."""
    limits = limiter(tokens=6000)
    assert limits.admit(100, 0.0) is None
    limits.tokens.give_back(40, 0.0)
    assert limits.admit(40, 0.0) is None
    assert limits.admit(1, 0.0) is not None
    limits.tokens.give_back(10**6, 0.0)
    assert limits.tokens.enforced.level == 100
    assert limits.tokens.minute.level == 6000


def test_somebody_else_with_the_same_key_takes_a_share() -> None:
    """Half of 600 a minute: five a second are left once the bucket is spent."""
    limits = limiter(requests=600)
    limits.others_share = 0.5
    admitted = sum(limits.admit(1, index / 100) is None for index in range(1100))
    assert 60 <= admitted <= 66
