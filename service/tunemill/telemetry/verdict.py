"""Is it all right? One sentence for a run at one moment, and how much it should worry whoever reads it.

Pure: figures in, a value out. What nobody may overlook comes first.
"""

from dataclasses import dataclass
from enum import Enum

from tunemill.model import RunState, WaitReason
from tunemill.statistics import Money, RunStatistics
from tunemill.telemetry.safe_text import mask_secrets, one_line
from tunemill.telemetry.words import dollars, duration, fine_tune_status, grace_words, percent

SILENCE_S = 300.0  # a model may think for minutes; that all of them do is worth a word
FAILED_SHARE = 0.05
FAILED_MIN = 3  # one of ten is no share yet
_REASON_CHARS_MAX = 400
_BINDING = {
    WaitReason.REQUESTS_PER_MINUTE: "requests",
    WaitReason.TOKENS_PER_MINUTE: "tokens",
}


class Level(Enum):
    """How much it should worry."""

    GOOD = "good"
    ATTENTION = "attention"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence, and its level."""

    level: Level
    sentence: str


def verdict(statistics: RunStatistics, *, silent_s: float = 0.0, is_budget_short: bool = False) -> Verdict:
    """What a person should think of the run now. `silent_s` is how long ago the last answer came, or the process began,
    without what was rest on purpose; `is_budget_short` says that the budget will not do for all that is to follow, a
    fine-tuning included."""
    match statistics.state:
        case RunState.RUNNING:
            return _running(statistics, silent_s, is_budget_short=is_budget_short)
        case RunState.IDLE:
            return Verdict(Level.GOOD, "It is getting ready.")
        case RunState.PAUSED:
            return Verdict(Level.ATTENTION, f"It is paused: {_reason(statistics, 'nothing is sent')}.")
        case RunState.DRAINING:
            awaited = grace_words(statistics) or "what is in flight is awaited"
            return Verdict(Level.ATTENTION, f"It is stopping ({_reason(statistics, 'asked to')}): {awaited}.")
        case RunState.INTERRUPTED:
            said = f"It was interrupted ({_reason(statistics, 'asked to stop')}) with {_answered(statistics)}"
            return Verdict(Level.ATTENTION, f"{said}. Run it again to go on; what is answered is kept.")
        case RunState.BUDGET_REACHED:
            said = f"It stopped at its budget with {_answered(statistics)}: {_reason(statistics, 'budget reached')}"
            return Verdict(Level.ATTENTION, f"{said}. Raise the budget and run it again to go on.")
        case RunState.FINISHED:
            return Verdict(Level.GOOD, f"It is done: {_answered(statistics)}, for {_spent(statistics)}.")
        case RunState.FINISHED_WITH_FAILURES:
            failed = f"{_failed(statistics)}, {statistics.requests.completed:,} are answered"
            return Verdict(Level.ATTENTION, f"It is done, but {failed}, for {_spent(statistics)}.")
        case RunState.REFUSED:
            return Verdict(Level.BAD, f"The provider refuses to go on: {_reason(statistics, 'it gave no reason')}.")
        case RunState.FAILED:
            return Verdict(Level.BAD, f"It failed: {_reason(statistics, 'see the log')}.")


def _running(statistics: RunStatistics, silent_s: float, *, is_budget_short: bool) -> Verdict:
    counts, money = statistics.requests, statistics.money
    if counts.waiting + counts.in_flight == 0:
        return _after_generation(statistics)
    if statistics.circuits_open:
        said = "The provider is in trouble: only probes are sent until it answers again"
        return Verdict(Level.BAD, f"{said}. {_capital(_answered(statistics))}, nothing is lost.")
    if silent_s >= SILENCE_S:
        said = f"No answer has come for {duration(silent_s)}, {counts.in_flight:,} are awaited"
        return Verdict(Level.ATTENTION, f"{said}. {_capital(_answered(statistics))}.")
    if is_budget_short or _is_over_budget(money):
        return Verdict(Level.ATTENTION, f"It goes on, but {_too_little(statistics)}.")
    if counts.failed >= FAILED_MIN and counts.failed >= FAILED_SHARE * (counts.completed + counts.failed):
        share = percent(counts.failed, counts.completed + counts.failed)
        return Verdict(Level.ATTENTION, f"It goes on, but {_failed(statistics)} ({share}).{_to_go(statistics)}")
    if not counts.completed:
        return Verdict(Level.GOOD, f"It has begun: {counts.in_flight:,} are in flight, nothing is answered yet.")
    return Verdict(Level.GOOD, f"All is well: {_answered(statistics)}.{_to_go(statistics)}{_bound_by(statistics)}")


def _is_over_budget(money: Money) -> bool:
    return money.budget is not None and money.forecast is not None and money.forecast > money.budget


def _too_little(statistics: RunStatistics) -> str:
    money, simulated = statistics.money, _simulated(statistics)
    budget = "the budget" if money.budget is None else f"the budget of {dollars(money.budget)}"
    if money.forecast is None or not _is_over_budget(money):
        return f"{budget} will not last for all that is to follow{simulated}"
    return f"{budget} will not last: {dollars(money.forecast)} forecast{simulated}"


def _after_generation(statistics: RunStatistics) -> Verdict:
    done = f"{_capital(_answered(statistics))}. " if statistics.requests.planned else ""
    if statistics.fine_tune is not None:
        return Verdict(Level.GOOD, f"{done}The fine-tuning job is {fine_tune_status(statistics.fine_tune)}.")
    return Verdict(Level.GOOD, f"{done}Now: {_reason(statistics, 'what comes after')}.")


def _answered(statistics: RunStatistics) -> str:
    counts = statistics.requests
    if counts.planned == 0:
        return "nothing had to be generated"
    if counts.completed == counts.planned:
        return "the one request is answered" if counts.planned == 1 else f"all {counts.planned:,} requests are answered"
    return f"{counts.completed:,} of {counts.planned:,} requests answered"


def _failed(statistics: RunStatistics) -> str:
    failed = statistics.requests.failed
    return "1 request failed for good" if failed == 1 else f"{failed:,} requests failed for good"


def _to_go(statistics: RunStatistics) -> str:
    if statistics.eta_s is None:
        return ""
    whole = max(1, round(statistics.eta_s))
    return f" About {duration(whole) if whole >= 10 else f'{whole} s'} to go."


def _bound_by(statistics: RunStatistics) -> str:
    bound = [word for reason, word in _BINDING.items() if statistics.waiting_for.get(reason.value)]
    return f" It goes as fast as the limit of {' and '.join(bound)} per minute allows." if bound else ""


def _spent(statistics: RunStatistics) -> str:
    return dollars(statistics.money.settled + statistics.money.uncertain) + _simulated(statistics)


def _simulated(statistics: RunStatistics) -> str:
    return " (simulated)" if statistics.simulated else ""


def _reason(statistics: RunStatistics, otherwise: str) -> str:
    return mask_secrets(one_line(statistics.reason, chars_max=_REASON_CHARS_MAX)).rstrip(".") or otherwise


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
