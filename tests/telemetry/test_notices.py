"""What is told outside: the texts, what is never in them, and when a run counts as stalled."""

from dataclasses import replace

import pytest
from tests.telemetry.samples import FINISHED, KEY, SECRET_TEXT, STATISTICS

from tunemill.model import RunState
from tunemill.statistics import RequestCounts, RunStatistics
from tunemill.telemetry.notices import (
    GoingAgain,
    Notice,
    Stalled,
    StallWatch,
    ending_notice,
    going_again_notice,
    stalled_notice,
    started_notice,
    trial_notice,
)


def _done(completed: int, *, state: RunState = RunState.RUNNING, left: int = 10) -> RunStatistics:
    counts = RequestCounts(planned=completed + left, completed=completed, failed=0, waiting=left, in_flight=0)
    return replace(STATISTICS, state=state, requests=counts)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (RunState.FINISHED, "finished"),
        (RunState.FINISHED_WITH_FAILURES, "finished"),
        (RunState.BUDGET_REACHED, "budget_reached"),
        (RunState.REFUSED, "failed"),
        (RunState.FAILED, "failed"),
        (RunState.INTERRUPTED, "interrupted"),
        (RunState.RUNNING, "failed"),
    ],
)
def test_every_ending_has_its_occasion(state: RunState, kind: str) -> None:
    """A process that ends in the middle did not mean to."""
    assert ending_notice(replace(STATISTICS, state=state), duration_s=60).kind == kind


def test_the_text_says_what_is_asked_in_the_morning() -> None:
    """Which run, how it ended, how far, what failed and of what, dollars, how long, and what to do."""
    text = ending_notice(FINISHED, duration_s=11_100).text
    assert text == (
        "movie-plots: finished with failures. 511 of 512 answered (100 %), 1 failed (timeout 1); $0.41 spent, "
        "$0.0020 uncertain, $0.050 reserved, 1.8 % of $25.00 budget, forecast $1.06; it took 3 h 05 min. To go on: "
        "failed.jsonl says what failed; run again with --retry-failed to send it again."
    )


def test_what_a_provider_said_is_in_no_text() -> None:
    """It may quote a key, a prompt or an answer; the class of a refusal is enough to act on."""
    said = f"Incorrect key {KEY} for the prompt {SECRET_TEXT}"
    refused = replace(
        STATISTICS, state=RunState.REFUSED, reason=said, attempts={("outline", "bad_key"): 1}, fine_tune={"error": said}
    )
    notices = (
        ending_notice(refused, duration_s=1),
        ending_notice(refused, duration_s=1, error="the provider refuses to go on"),
        stalled_notice(refused, for_s=600),
        going_again_notice(refused, after_s=700),
        started_notice(refused),
    )
    assert "(bad_key)" in notices[0].text
    assert not [notice for notice in notices if KEY in notice.text or SECRET_TEXT in notice.text]


def test_simulated_dollars_are_marked() -> None:
    """Here as everywhere."""
    assert started_notice(replace(STATISTICS, simulated=True)).text.startswith("movie-plots (simulated): started.")


def test_nothing_in_a_text_is_obeyed_by_a_chat() -> None:
    """Slack takes <!channel> for a call to everybody."""
    assert Notice(kind="x", text="a <!channel> & b").to_json() == {"text": "a &lt;!channel&gt; &amp; b"}


def test_the_test_says_what_will_be_told() -> None:
    """So that whoever reads it in the channel knows what to expect."""
    text = trial_notice("films", ["finished", "budget_reached", "stalled"], 600).text
    assert text.endswith("finished, budget reached, stalled (nothing answered for 10 min 00 s), and going again.")


def test_a_run_on_which_nothing_is_settled_has_stalled_once() -> None:
    """It is told once, and again when it goes on; the next time it stands still is another time."""
    watch = StallWatch(600, 0)
    looks = [(0, 5), (500, 5), (600, 5), (700, 5), (5000, 5), (5010, 6), (5600, 6), (5610, 6), (5700, 7)]
    news = [watch.look(_done(completed), now) for now, completed in looks]
    assert news == [None, None, Stalled(600), None, None, GoingAgain(5010), None, Stalled(600), GoingAgain(690)]


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.DRAINING, RunState.FINISHED])
def test_who_is_not_to_get_on_has_not_stalled(state: RunState) -> None:
    """Paused is what somebody wanted; and the time of it does not count afterwards."""
    watch = StallWatch(600, 0)
    assert watch.look(_done(5, state=state), 5_000) is None
    assert watch.look(_done(5), 5_500) is None
    assert watch.look(_done(5), 5_600) == Stalled(600)


def test_with_nothing_left_to_send_nothing_has_stalled() -> None:
    """A fine-tuning job takes hours, and nothing is answered meanwhile."""
    watch = StallWatch(600, 0)
    assert [watch.look(_done(5, left=0), now) for now in (0, 10_000, 100_000)] == [None] * 3


def test_a_failure_for_good_is_getting_on() -> None:
    """What fails is settled, too, and is told otherwise."""
    watch = StallWatch(600, 0)
    watch.look(_done(5), 0)
    failed = replace(STATISTICS, requests=RequestCounts(planned=15, completed=5, failed=1, waiting=9, in_flight=0))
    assert watch.look(failed, 600) is None
