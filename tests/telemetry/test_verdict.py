"""Is it all right? What the one sentence says, and how much it should worry."""

from dataclasses import replace

import pytest
from tests.telemetry.samples import FINISHED, STATISTICS

from tunemill.model import RunState, picodollars
from tunemill.statistics import RequestCounts, RunStatistics
from tunemill.telemetry.verdict import FAILED_MIN, SILENCE_S, Level, verdict

ALL = RequestCounts(planned=512, completed=512, failed=0, waiting=0, in_flight=0)
BEGUN = RequestCounts(planned=512, completed=0, failed=0, waiting=448, in_flight=64)
FAILING = replace(STATISTICS.requests, failed=20, waiting=228)
FEW = replace(STATISTICS.requests, completed=10, failed=FAILED_MIN - 1, waiting=438 - FAILED_MIN + 1)


def _state(state: RunState, reason: str = "", requests: RequestCounts = STATISTICS.requests) -> RunStatistics:
    return replace(STATISTICS, state=state, reason=reason, requests=requests)


@pytest.mark.parametrize(
    ("statistics", "level", "said"),
    [
        (STATISTICS, Level.GOOD, "All is well: 200 of 512 requests answered. About 5 min 40 s to go. It goes as fast "
            "as the limit of requests per minute allows."),
        (replace(STATISTICS, requests=BEGUN), Level.GOOD, "It has begun: 64 are in flight, nothing is answered yet."),
        (replace(STATISTICS, circuits_open=1), Level.BAD, "The provider is in trouble: only probes are sent"),
        (replace(STATISTICS, money=replace(STATISTICS.money, forecast=picodollars(30))), Level.ATTENTION,
            "the budget of $25.00 will not last: $30.00 forecast."),
        (replace(STATISTICS, requests=FAILING), Level.ATTENTION, "20 requests failed for good (9.1 %)"),
        (replace(STATISTICS, requests=FEW), Level.GOOD, "All is well: 10 of 512"),
        (_state(RunState.RUNNING, "building the dataset", ALL), Level.GOOD,
            "All 512 requests are answered. Now: building the dataset."),
        (replace(FINISHED, state=RunState.RUNNING, requests=ALL), Level.GOOD, "The fine-tuning job is succeeded."),
        (_state(RunState.IDLE), Level.GOOD, "It is getting ready."),
        (_state(RunState.PAUSED, "what is in flight is kept"), Level.ATTENTION,
            "It is paused: what is in flight is kept."),
        (replace(_state(RunState.DRAINING, "SIGTERM: nothing more is sent"), grace_left_s=23.0), Level.ATTENTION,
            "It is stopping (SIGTERM: nothing more is sent): 64 answers are awaited, for 23 s more at most."),
        (_state(RunState.INTERRUPTED, "stopped by SIGTERM"), Level.ATTENTION, "Run it again to go on"),
        (_state(RunState.BUDGET_REACHED, "no request fits"), Level.ATTENTION, "Raise the budget and run it again"),
        (_state(RunState.FINISHED, requests=ALL), Level.GOOD, "It is done: all 512 requests are answered, for $0.41."),
        (FINISHED, Level.ATTENTION, "It is done, but 1 request failed for good, 511 are answered"),
        (_state(RunState.REFUSED, "the key is wrong."), Level.BAD, "The provider refuses to go on: the key is wrong."),
        (_state(RunState.FAILED), Level.BAD, "It failed: see the log."),
    ],
)  # fmt: skip
def test_the_sentence_for_a_run(statistics: RunStatistics, level: Level, said: str) -> None:
    """What nobody may overlook comes first."""
    found = verdict(statistics)
    assert found.level is level
    assert said in found.sentence


def test_a_budget_that_lasts_for_the_answers_alone_is_worth_a_word() -> None:
    """It also has to do for the fine-tuning that follows."""
    said = verdict(STATISTICS, is_budget_short=True)
    assert said.level is Level.ATTENTION
    assert "the budget of $25.00 will not last for all that is to follow." in said.sentence


def test_silence_is_worth_a_word() -> None:
    """A run in which nothing has arrived for minutes may be stuck."""
    assert verdict(STATISTICS, silent_s=SILENCE_S - 1).level is Level.GOOD
    said = verdict(STATISTICS, silent_s=SILENCE_S + 62)
    assert said.level is Level.ATTENTION
    assert "No answer has come for 6 min 02 s, 64 are awaited" in said.sentence


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.RUNNING])
def test_simulated_dollars_say_so(state: RunState) -> None:
    """Wherever the sentence has dollars."""
    money = replace(STATISTICS.money, forecast=picodollars(30))
    said = verdict(replace(STATISTICS, simulated=True, state=state, money=money)).sentence
    assert "$" in said
    assert "(simulated)" in said
