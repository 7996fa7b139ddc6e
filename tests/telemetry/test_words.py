"""Figures as a person reads them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.telemetry.samples import FINISHED, STATISTICS, UNKNOWN

from tunemill.model import RunState, WaitReason, picodollars
from tunemill.statistics import LimitLevel, Money
from tunemill.telemetry.words import (
    ago_words,
    dollars,
    duration,
    go_on_words,
    is_nearly_spent,
    percent,
    progress_line,
    rate_words,
    rough_duration,
    state_words,
    waiting_words,
)


@pytest.mark.parametrize(
    ("amount_usd", "words"),
    [
        (0.0, "$0.00"),
        (1234.567, "$1,234.57"),
        (0.41, "$0.41"),
        (0.05, "$0.050"),
        (0.0021, "$0.0021"),
        (0.00015, "$0.0001"),
        (0.00002, "$0.000020"),
        (0.0000000001, "<$0.000001"),
    ],
)
def test_dollars_show_as_many_digits_as_it_takes(amount_usd: float, words: str) -> None:
    """Something is never shown as nothing."""
    assert dollars(picodollars(amount_usd)) == words


@given(st.integers(min_value=1, max_value=10**18))
def test_no_amount_above_zero_reads_as_zero(amount: int) -> None:
    """Unknown is not zero, and little is not zero either."""
    assert any(digit in "123456789" for digit in dollars(amount))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3.21, "3.2 s"),
        (45.4, "45 s"),
        (59.7, "1 min 00 s"),
        (340, "5 min 40 s"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_in_the_units_that_fit(seconds: float, words: str) -> None:
    """Two units at most."""
    assert duration(seconds) == words


def test_a_rough_duration_has_no_fractions() -> None:
    """What is redrawn eight times a second must not flicker."""
    assert rough_duration(3.21) == "3 s"


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "0 %"),
        (0, 512, "0.0 %"),
        (1, 1000, "0.1 %"),
        (200, 512, "39 %"),
        (99_999, 100_000, "99 %"),
        (512, 512, "100 %"),
    ],
)
def test_a_hundred_percent_only_when_it_is_all(part: int, whole: int, words: str) -> None:
    """99.999 % is not done."""
    assert percent(part, whole) == words


def test_every_reason_to_wait_has_words() -> None:
    """A reason without words would vanish from the screen."""
    for reason in WaitReason:
        assert waiting_words({reason.value: 7}).endswith(" 7")


def test_the_longest_wait_comes_first_and_the_queue_last() -> None:
    """What merely queues says nothing about what is wrong."""
    words = waiting_words({"queue": 900, "retry_after": 3, "requests_per_minute": 12, "budget": 0})
    assert words == "requests per minute 12, provider asked us to wait 3, their turn 900"


def test_every_state_has_words_without_underscores() -> None:
    """They are read by people."""
    assert all("_" not in state_words(state) for state in RunState)


def test_one_model_shows_the_measured_rate_against_its_limits() -> None:
    """The same rate as in `status`."""
    assert rate_words(STATISTICS) == ["498 of 500 requests/min, 181,000 of 200,000 tokens/min"]


def test_several_models_show_a_line_each() -> None:
    """Limits are kept for each model, so what is used of them is told for each."""
    judge = LimitLevel(model="judge/llama", kind="concurrency", limit=16.0, used=9.0)
    lines = rate_words(replace(STATISTICS, limits=(*STATISTICS.limits, judge)))
    assert lines[1] == "judge/llama: 9 of 16 at once"


def test_the_progress_line_has_the_whole_run() -> None:
    """It begins with how far it is, and says what it waits for."""
    line = progress_line(STATISTICS)
    assert line.startswith("progress 201/512 39 % | running | 1 failed | 64 of 256 in flight | 498 of 500 requests/min")
    assert "$0.41 spent, $0.0020 uncertain, $0.050 reserved | 1.8 % of $25.00 budget, forecast $1.06" in line
    assert "ETA 5 min 40 s" in line
    assert line.endswith("waiting for: requests per minute 12, provider asked us to wait 3, their turn 232")


def test_the_progress_line_marks_simulated_dollars() -> None:
    """Nobody may take them for real ones."""
    assert "(simulated)" in progress_line(replace(STATISTICS, simulated=True))


def test_the_progress_line_leaves_out_what_is_unknown() -> None:
    """No budget, no forecast, no limits, no ETA: no figures in their place."""
    line = progress_line(UNKNOWN)
    assert "no budget" in line
    assert "ETA" not in line
    assert "forecast" not in line


def test_the_progress_line_goes_on_after_generation() -> None:
    """The dataset and the fine-tuning job take over where rates and waits have nothing to say."""
    line = progress_line(FINISHED)
    assert "requests/min" not in line
    assert line.endswith("dataset: 180 train, 20 validation, 12 rejected | fine-tuning: succeeded")


def test_an_open_circuit_is_loud() -> None:
    """Somebody must look."""
    assert "PROVIDER IN TROUBLE" in progress_line(replace(STATISTICS, circuits_open=1))


def test_the_progress_line_says_what_an_end_is_waited_for() -> None:
    """Instead of what nobody waits for any more."""
    line = progress_line(replace(STATISTICS, state=RunState.DRAINING, eta_s=None, grace_left_s=125.0))
    assert line.endswith(" | 64 answers are awaited, for 2 min 05 s more at most")
    assert "waiting for" not in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (-5, "just now"), (42, "42 s ago"), (130, "2 min ago"), (7_300, "2 h ago"), (9e5, "10 d ago")],
)
def test_how_long_ago_is_one_figure(seconds: float, words: str) -> None:
    """In the largest unit that it fills; a clock that was set back is no past."""
    assert ago_words(seconds) == words


def test_a_budget_is_nearly_spent_from_four_fifths_on() -> None:
    """What may have been billed counts; what is only reserved does not, and no budget is never spent."""
    full = Money(settled=70, uncertain=10, reserved=0, budget=100, forecast=None)
    assert is_nearly_spent(full)
    assert not is_nearly_spent(replace(full, uncertain=9, reserved=21))
    assert not is_nearly_spent(replace(full, budget=None))
    line = progress_line(replace(STATISTICS, money=full))
    assert "BUDGET NEARLY SPENT" in line


@pytest.mark.parametrize("state", RunState)
def test_whatever_state_a_run_ends_in_it_is_said_how_to_go_on(state: RunState) -> None:
    """Also where the process ended in the middle."""
    assert go_on_words(state)
