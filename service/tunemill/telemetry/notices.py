"""What is told to whoever does not look: one short text for each occasion. And whether a run has stalled.

Pure. Promises: nothing in a text comes from a provider, a prompt, an answer or a row; only figures, our own words, and
the recipe's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tunemill.model import FailureKind, JsonObject, RunState
from tunemill.statistics import RunStatistics
from tunemill.telemetry.words import (
    budget_words,
    duration,
    go_on_words,
    percent,
    spent_words,
    state_words,
    waiting_words,
)

_DOOMS = (FailureKind.BAD_KEY, FailureKind.QUOTA_EXHAUSTED, FailureKind.MODEL_UNKNOWN)
_KINDS = {
    RunState.FINISHED: "finished",
    RunState.FINISHED_WITH_FAILURES: "finished",
    RunState.BUDGET_REACHED: "budget_reached",
    RunState.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message. `kind` is the recipe's word for the occasion; notices of one kind and `cause` tell the same."""

    kind: str
    text: str
    cause: str = ""

    def to_json(self) -> JsonObject:
        """As Slack, Mattermost and Discord (at /slack) take it; the three characters that they obey are escaped."""
        return {"text": self.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def started_notice(statistics: RunStatistics) -> Notice:
    """A process begins to work on the run."""
    return Notice(kind="started", text=f"{_name(statistics)}: started. {_figures(statistics)}.")


def ending_notice(statistics: RunStatistics, *, duration_s: float, error: str = "") -> Notice:
    """The run ended; `error` is our word for what ended it, where it was an error."""
    kind = "failed" if error else _KINDS.get(statistics.state, "failed")
    cause = error or (_refusal(statistics) if statistics.state is RunState.REFUSED else "")
    state = RunState.FAILED if kind == "failed" and statistics.state is not RunState.REFUSED else statistics.state
    because = f" ({cause})" if cause else ""
    text = (
        f"{_name(statistics)}: {state_words(state)}{because}. {_figures(statistics)}; it took {duration(duration_s)}."
    )
    if state is not RunState.FINISHED:
        text += f" To go on: {go_on_words(state)}."
    return Notice(kind=kind, text=text, cause=f"{state.value} {cause}".strip())


def stalled_notice(statistics: RunStatistics, *, for_s: float) -> Notice:
    """Nothing gets on."""
    counts = statistics.requests
    waits = waiting_words(statistics.waiting_for)
    why = f", waiting for: {waits}" if waits else ""
    outage = " The provider keeps failing or is silent." if statistics.circuits_open else ""
    text = (
        f"{_name(statistics)}: stalled. Nothing was answered for {duration(for_s)}; {counts.in_flight:,} requests are "
        f"in flight and {counts.waiting:,} wait{why}.{outage} {_figures(statistics)}."
    )
    return Notice(kind="stalled", text=text)


def going_again_notice(statistics: RunStatistics, *, after_s: float) -> Notice:
    """It gets on again."""
    text = f"{_name(statistics)}: going again after {duration(after_s)}. {_figures(statistics)}."
    return Notice(kind="going_again", text=text)


def trial_notice(run: str, on: Sequence[str], stalled_after_s: float) -> Notice:
    """What `tunemill notify` sends."""
    occasions = occasion_words(on, stalled_after_s)
    return Notice(kind="test", text=f"{run}: this is a test from tunemill. You will be told here of: {occasions}.")


def occasion_words(on: Sequence[str], stalled_after_s: float) -> str:
    """`finished, budget reached, stalled (nothing answered for 10 min 00 s)`."""
    words = {"stalled": f"stalled (nothing answered for {duration(stalled_after_s)}), and going again"}
    return ", ".join(words.get(each, each.replace("_", " ")) for each in on)


@dataclass(frozen=True, slots=True)
class Stalled:
    """Nothing was settled for so long."""

    for_s: float


@dataclass(frozen=True, slots=True)
class GoingAgain:
    """Something was, after so long."""

    after_s: float


StallNews: TypeAlias = Stalled | GoingAgain | None


class StallWatch:
    """Whether nothing is settled, completed or failed, although work is left and nobody paused it."""

    def __init__(self, after_s: float, now: float) -> None:
        self._after_s = after_s
        self._settled = -1
        self._since = now
        self._is_stalled = False

    def look(self, statistics: RunStatistics, now: float) -> StallNews:
        """What is new at this moment, seconds of a monotonic clock."""
        counts = statistics.requests
        settled = counts.completed + counts.failed
        if statistics.state is not RunState.RUNNING or counts.waiting + counts.in_flight == 0:
            self._settled, self._since, self._is_stalled = settled, now, False
            return None
        if settled != self._settled:
            was_stalled, for_s = self._is_stalled, now - self._since
            self._settled, self._since, self._is_stalled = settled, now, False
            return GoingAgain(for_s) if was_stalled else None
        if self._is_stalled or now - self._since < self._after_s:
            return None
        self._is_stalled = True
        return Stalled(now - self._since)


def _name(statistics: RunStatistics) -> str:
    return statistics.run + (" (simulated)" if statistics.simulated else "")


def _figures(statistics: RunStatistics) -> str:
    counts, money = statistics.requests, statistics.money
    done = counts.completed + counts.failed
    words = f"{counts.completed:,} of {counts.planned:,} answered ({percent(done, counts.planned)})"
    if counts.failed:
        classes = ", ".join(f"{kind} {count:,}" for kind, count in statistics.failures().items())
        words += f", {counts.failed:,} failed" + (f" ({classes})" if classes else "")
    return f"{words}; {spent_words(money)}, {budget_words(money)}"


def _refusal(statistics: RunStatistics) -> str:
    """Which refusal it was, by its class alone: what the provider said may quote anything."""
    attempted = {kind for _, kind in statistics.attempts}
    return next((kind.value for kind in _DOOMS if kind.value in attempted), "it gives no usable answers")
