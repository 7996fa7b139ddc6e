"""What the page remembers and what it says: values in, JSON out."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import ManualClock
from tests.telemetry.samples import COMPLETED, EVENTS, FAILED, FINISHED, KEY, STATISTICS, UNKNOWN

from tunemill.events import CircuitChanged, StateChanged
from tunemill.model import Lane, RunState, picodollars
from tunemill.statistics import LimitLevel, RunStatistics
from tunemill.telemetry.http.page.answers import KEPT, PER_SECOND, PROMPT_CHARS_MAX, TEXT_CHARS_MAX, LatestAnswers
from tunemill.telemetry.http.page.history import ROOM, History, LaneRates, Sample
from tunemill.telemetry.http.page.picture import picture, sample
from tunemill.telemetry.http.page.run_page import RunPage
from tunemill.telemetry.recent import RecentEvents
from tunemill.telemetry.words import rough_duration

HOSTILE = f"<img src=x onerror=alert(1)>\u202egnp\x1b[31m\x00 {KEY} </script>"


def _sample(number: int) -> Sample:
    lane = LaneRates(requests=float(number), requests_limit=500.0, tokens=None, tokens_limit=None)
    return Sample(at=float(number), spent=float(number), forecast=None, budget=25.0, done=number, rates=(lane,))


def _picture(statistics: RunStatistics, recent: RecentEvents | None = None) -> dict[str, Any]:
    return dict(picture(statistics, recent or RecentEvents(), elapsed_s=61.0, silent_s=0.0))


# -- history -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3_000))
def test_the_history_has_the_whole_run_in_little_room(seconds: int) -> None:
    """The latest second by second, the rest coarser the older it is; nothing is out of order or left out."""
    history = History()
    for second in range(seconds):
        history.add(_sample(second))
    kept = list(history)
    assert len(kept) == len(history) <= ROOM * (2 + math.log2(1 + seconds / ROOM))
    assert [each.at for each in kept[-min(ROOM, seconds) :]] == list(range(max(0, seconds - ROOM), seconds))
    assert all(before.at < after.at for before, after in pairwise(kept))
    assert kept[0].at <= max(0, seconds / 4)


def test_merged_samples_keep_what_a_reader_needs() -> None:
    """Rates are means, dollars and counts are those of the end."""
    history = History(room=2)
    for second in range(1, 4):
        history.add(_sample(second))
    merged, latest = list(history)
    assert (merged.at, merged.spent, merged.done) == (2.0, 2.0, 2)
    assert merged.rates[0] == LaneRates(requests=1.5, requests_limit=500.0, tokens=None, tokens_limit=None)
    assert latest == _sample(3)


def test_a_day_is_eight_hundred_samples() -> None:
    """So that a page that is opened late is there at once."""
    history = History()
    for second in range(86_400):
        history.add(_sample(second))
    assert len(history) < 800


def test_a_run_that_lingers_after_its_end_does_not_grow_older() -> None:
    """It says how long the run took; until then, how long it has been going on."""
    clock = ManualClock()
    ends = [STATISTICS, FINISHED]
    page = RunPage(lambda: ends[0], prompt_of=lambda _: "", clock=clock)
    clock.advance(61)
    assert page.whole()["elapsed"] == f"{rough_duration(61)} so far"
    ends.pop(0)
    page.on_event(StateChanged(state=FINISHED.state, reason=""))
    clock.advance(3_600)
    assert page.whole()["elapsed"] == f"took {rough_duration(61)}"


# -- answers -----------------------------------------------------------------------------------------------------------


def test_some_of_each_second_are_shown_and_the_rest_is_counted() -> None:
    """However many arrive."""
    answers = LatestAnswers(lambda _: "Who did it?")
    for _ in range(100):
        for _ in range(50):
            answers.heard(COMPLETED)
        assert len(answers.take(at=0.0, simulated=False)) == PER_SECOND
    assert (answers.arrived, answers.shown) == (5_000, 100 * PER_SECOND)
    assert len(answers.kept()) == KEPT


def test_an_answer_is_cut_and_says_how_much() -> None:
    """A line of a megabyte makes the page no larger than any other."""
    answers = LatestAnswers(lambda _: "p" * 1_000_000)
    answers.heard(replace(COMPLETED, text="x" * 1_000_000))
    [shown] = answers.take(at=0.0, simulated=True)
    assert (shown["text"], shown["text_cut"]) == ("x" * TEXT_CHARS_MAX, 1_000_000 - TEXT_CHARS_MAX)
    assert (shown["prompt"], shown["prompt_cut"]) == ("p" * PROMPT_CHARS_MAX, 1_000_000 - PROMPT_CHARS_MAX)
    assert shown["price"] == "$0.0021 simulated"


def test_an_answer_hides_nothing() -> None:
    """Neither do prompt, step or outcome; keys are masked, and markup is text like any other."""
    answers = LatestAnswers(lambda _: HOSTILE)
    answers.heard(replace(COMPLETED, text=HOSTILE, step=HOSTILE, outcome=HOSTILE))
    [shown] = answers.take(at=0.0, simulated=False)
    for text in (shown["text"], shown["prompt"], shown["step"], shown["outcome"]):
        assert text == "<img src=x onerror=alert(1)>⟨U+202E⟩gnp⟨U+001B⟩[31m⟨U+0000⟩ [masked] </script>"


# -- picture -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("statistics", [STATISTICS, FINISHED, UNKNOWN])
def test_every_state_has_a_picture_with_a_sentence(statistics: RunStatistics, state: RunState) -> None:
    """Of any run, also where next to nothing is known."""
    recent = RecentEvents()
    for event in EVENTS:
        recent.on_event(event)
    shown = _picture(replace(statistics, state=state), recent)
    orjson.dumps(shown)
    assert str(shown["sentence"]).endswith(".")
    assert shown["level"] in ("good", "attention", "bad")


def test_the_picture_says_what_the_terminal_says() -> None:
    """In the same words."""
    shown = _picture(STATISTICS)
    assert shown["lanes"] == [
        {
            "model": "gpt-4o-mini",
            "requests": "498 of 500 requests/min",
            "tokens": "181,000 of 200,000 tokens/min",
            "at_once": "64 of 256 at once",
        }
    ]
    assert shown["waiting"] == [
        {"words": "requests per minute", "count": 12},
        {"words": "provider asked us to wait", "count": 3},
        {"words": "their turn", "count": 232},
    ]
    assert shown["money"]["budget_words"] == "1.8 % of $25.00 budget, forecast $1.06"
    assert shown["outcomes"] == [
        {"step": "outline", "outcome": "stop", "count": 190},
        {"step": "outline", "outcome": "length", "count": 10},
    ]


def test_failures_are_shown_by_class_with_an_example() -> None:
    """Those of earlier processes are counted, and have none."""
    recent = RecentEvents()
    recent.on_event(replace(FAILED, message=f"no answer {HOSTILE}"))
    statistics = replace(STATISTICS, finished={("a", "timeout"): 3, ("b", "timeout"): 2, ("a", "bad_request"): 9})
    first, second = _picture(statistics, recent)["failures"]
    assert first == {"kind": "bad_request", "count": 9, "example": None}
    assert second["kind"] == "timeout"
    assert second["count"] == 5
    assert KEY not in second["example"]["message"]
    assert "⟨U+202E⟩" in second["example"]["message"]


def test_an_open_circuit_is_trouble() -> None:
    """With the model and the reason, as text."""
    recent = RecentEvents()
    recent.on_event(CircuitChanged(lane=Lane("judge", "llama"), is_open=True, failures=12, reason=HOSTILE))
    [trouble] = _picture(STATISTICS, recent)["trouble"]
    assert trouble.startswith("judge/llama failed 12 times in a row (<img src=x")
    assert KEY not in trouble


def test_rates_of_several_models_are_told_apart() -> None:
    """Of one alone the measured rate is known even without a limit; of several, that of those that have one."""
    several = (
        *STATISTICS.limits,
        LimitLevel(model="judge/llama", kind="concurrency", limit=8, used=8),
    )
    first, second = sample(replace(STATISTICS, limits=several), at=0.0).rates
    assert first == LaneRates(requests=498.2, requests_limit=500.0, tokens=181_000.0, tokens_limit=200_000.0)
    assert second == LaneRates(requests=None, requests_limit=None, tokens=None, tokens_limit=None)
    [only] = sample(replace(STATISTICS, limits=()), at=0.0).rates
    assert (only.requests, only.requests_limit) == (498.2, None)


def test_the_dollars_of_a_sample_are_what_is_gone() -> None:
    """Settled and uncertain together."""
    statistics = replace(STATISTICS, money=replace(STATISTICS.money, uncertain=picodollars(0.59)))
    assert sample(statistics, at=0.0).spent == 1.0
