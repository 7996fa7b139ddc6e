"""A run's figures in words that a person reads: dollars, durations, what it waits for, and the one-line progress.

Pure: values in, text out. Knows no terminal.
"""

from collections.abc import Mapping

from tunemill.events import BudgetShort
from tunemill.model import PICODOLLARS_PER_USD, Json, JsonObject, Picodollars, RunState, WaitReason, usd
from tunemill.statistics import Money, RunStatistics
from tunemill.telemetry.safe_text import one_line

NEARLY_SPENT = 0.8  # the part of the budget from which on it is said
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_WAITING_WORDS: Mapping[WaitReason, str] = {
    WaitReason.REQUESTS_PER_MINUTE: "requests per minute",
    WaitReason.TOKENS_PER_MINUTE: "tokens per minute",
    WaitReason.CONCURRENCY: "a free slot",
    WaitReason.RETRY_AFTER: "provider asked us to wait",
    WaitReason.BACKOFF: "pause before a retry",
    WaitReason.BUDGET: "budget held by what is in flight",
    WaitReason.OUTAGE: "provider to recover",
    WaitReason.UPSTREAM: "an earlier step",
    WaitReason.PAUSED: "`tunemill resume`",
    WaitReason.QUEUE: "their turn",
}
_STATE_WORDS: Mapping[RunState, str] = {  # the others are words already
    RunState.BUDGET_REACHED: "budget reached",
    RunState.FINISHED_WITH_FAILURES: "finished with failures",
    RunState.REFUSED: "refused by the provider",
}
_GO_ON_WORDS: Mapping[RunState, str] = {
    RunState.FINISHED: "nothing is left to do",
    RunState.FINISHED_WITH_FAILURES: "failed.jsonl says what failed; run again with --retry-failed to send it again",
    RunState.BUDGET_REACHED: "raise the budget (--budget or [budget] usd) and run again to go on",
    RunState.INTERRUPTED: "run again to go on",
    RunState.REFUSED: "mend it and run again to go on: what was answered is kept",
    RunState.FAILED: "mend it and run again to go on: what was answered is kept",
}
LIMIT_WORDS: Mapping[str, str] = {
    "requests_per_minute": "requests/min",
    "tokens_per_minute": "tokens/min",
    "concurrency": "at once",
}


def dollars(amount: Picodollars) -> str:
    """$1,234.56, and below ten cents as many digits as it takes to tell the amount from nothing."""
    magnitude = abs(amount)
    if magnitude >= PICODOLLARS_PER_USD // 10 or magnitude == 0:
        return f"${usd(amount):,.2f}"
    if magnitude >= PICODOLLARS_PER_USD // 100:
        return f"${usd(amount):.3f}"
    if magnitude >= PICODOLLARS_PER_USD // 10_000:
        return f"${usd(amount):.4f}"
    return f"${usd(amount):.6f}" if magnitude >= PICODOLLARS_PER_USD // 10**6 else "<$0.000001"


def duration(seconds: float) -> str:
    """`3.2 s`, `45 s`, `5 min 40 s`, `2 h 05 min`, `3 d 4 h`."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def rough_duration(seconds: float) -> str:
    """`duration` in whole seconds, for what changes while one looks at it."""
    return f"{round(seconds)} s" if seconds < 10 else duration(seconds)


def ago_words(seconds: float) -> str:
    """`just now`, `40 s ago`, `5 min ago`, `3 h ago`, `12 d ago`."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if seconds >= 10 else "just now"


def percent(part: float, whole: float) -> str:
    """`39 %`; below ten with one digit after the point; 100 only when it is all."""
    if whole <= 0:
        return "0 %"
    share = 100 * part / whole
    if share < 10:
        return f"{share:.1f} %"
    return f"{min(int(share), 99) if part < whole else int(share)} %"


def state_words(state: RunState) -> str:
    """The state as a person says it."""
    return _STATE_WORDS.get(state, state.value)


def go_on_words(state: RunState) -> str:
    """What to do after a run ended so; a process that ended in another state did not end on purpose."""
    return _GO_ON_WORDS.get(state, "run again to go on: what was answered is kept")


def waiting_words(waiting_for: Mapping[str, int]) -> str:
    """`requests per minute 12, provider asked us to wait 3`: most first, and last what merely queues. "" where none."""
    return ", ".join(f"{words} {count:,}" for words, count in waiting_list(waiting_for))


def waiting_list(waiting_for: Mapping[str, int]) -> list[tuple[str, int]]:
    """What is waited for, in words, with how many wait; in the order of `waiting_words`."""
    waiting = [(reason, waiting_for.get(reason.value, 0)) for reason in WaitReason]
    waiting.sort(key=lambda each: (each[0] is WaitReason.QUEUE, -each[1]))
    return [(_WAITING_WORDS[reason], count) for reason, count in waiting if count]


def grace_words(statistics: RunStatistics) -> str:
    """`12 answers are awaited, for 23 s more at most`; "" where nothing is ending."""
    if statistics.grace_left_s is None:
        return ""
    count = statistics.requests.in_flight
    awaited = "1 answer is awaited" if count == 1 else f"{count:,} answers are awaited"
    return f"{awaited}, for {rough_duration(statistics.grace_left_s)} more at most"


def used_of_limit(used: float, limit: float | None, kind: str) -> str:
    """`498 of 500 requests/min`, or without a limit `498 requests/min`."""
    of_limit = "" if limit is None else f" of {limit:,.0f}"
    return f"{used:,.0f}{of_limit} {LIMIT_WORDS.get(kind, kind)}"


def rate_words(statistics: RunStatistics) -> list[str]:
    """How fast it goes, against the limits, in words; one line, or a line for each of several models."""
    models = dict.fromkeys(level.model for level in statistics.limits)
    if len(models) > 1:
        return [_lane_rate(model, statistics) for model in models]
    limits = {level.kind: level.limit for level in statistics.limits}
    measured = {
        "requests_per_minute": statistics.requests_per_minute,
        "tokens_per_minute": statistics.tokens_per_minute,
    }
    return [", ".join(used_of_limit(used, limits.get(kind), kind) for kind, used in measured.items())]


def in_flight_words(statistics: RunStatistics) -> str:
    """`64 of 256 in flight`; without a limit, or with several models that each have one, `64 in flight`."""
    limits = [level.limit for level in statistics.limits if level.kind == "concurrency"]
    return used_of_limit(statistics.requests.in_flight, limits[0] if len(limits) == 1 else None, "in flight")


def spent_words(money: Money) -> str:
    """`$0.41 spent, $0.002 uncertain, $0.05 reserved`, leaving out what is nothing."""
    words = [f"{dollars(money.settled)} spent"]
    if money.uncertain:
        words.append(f"{dollars(money.uncertain)} uncertain")
    if money.reserved:
        words.append(f"{dollars(money.reserved)} reserved")
    return ", ".join(words)


def budget_words(money: Money) -> str:
    """`1.8 % of $25.00 budget, forecast $1.06`, or as much of it as is known."""
    used = money.settled + money.uncertain + money.reserved
    words = "no budget" if money.budget is None else f"{percent(used, money.budget)} of {dollars(money.budget)} budget"
    return words if money.forecast is None else f"{words}, forecast {dollars(money.forecast)}"


def budget_short_words(short: BudgetShort | None) -> str:
    """What a budget that is too small will do; "" where it is not."""
    if short is None:
        return ""
    total = f"{dollars(short.forecast)} with all that is to follow"
    return f"the budget covers about {short.rows_that_fit:,} of {short.rows_planned:,} rows: forecast {total}"


def circuit_words(lane: str, failures: int, reason: str) -> str:
    """What an open circuit means. `lane` names the model, `reason` is the last failure's message or ""."""
    said = f"failed {failures:,} times in a row" if failures else "has fallen silent"
    last = f" ({reason})" if reason else ""
    return f"{lane} {said}{last}: circuit open, sending slowly until it answers again"


def is_nearly_spent(money: Money) -> bool:
    """Whether four fifths of the budget are gone; what is only reserved is not."""
    return money.budget is not None and money.settled + money.uncertain >= NEARLY_SPENT * money.budget


def counts_words(figures: Mapping[str, Json]) -> str:
    """The whole numbers of a mapping, each with its key: `180 train, 20 validation`."""
    counts = [(key, value) for key, value in figures.items() if isinstance(value, int) and not isinstance(value, bool)]
    return ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in counts)


def fine_tune_status(figures: JsonObject) -> str:
    """The target's word for how the fine-tuning job stands, or before it has one, ours."""
    for key in ("status", "state"):
        if isinstance(word := figures.get(key), str) and word:
            return one_line(word, chars_max=40)
    return "being prepared"


def progress_line(statistics: RunStatistics) -> str:
    """The whole run on one line, beginning with `progress 200/512 39 %`."""
    counts, money = statistics.requests, statistics.money
    done = counts.completed + counts.failed
    parts = [f"progress {done:,}/{counts.planned:,} {percent(done, counts.planned)}", state_words(statistics.state)]
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if done < counts.planned:
        parts += [in_flight_words(statistics), *rate_words(statistics)]
    parts += [spent_words(money) + (" (simulated)" if statistics.simulated else ""), budget_words(money)]
    if statistics.eta_s is not None and done < counts.planned:
        parts.append(f"ETA {rough_duration(statistics.eta_s)}")
    if done < counts.planned and is_nearly_spent(money):
        parts.append("BUDGET NEARLY SPENT")
    if statistics.circuits_open:
        parts.append("PROVIDER IN TROUBLE: circuit open")
    if grace := grace_words(statistics):
        parts.append(grace)
    elif waiting := waiting_words(statistics.waiting_for):
        parts.append(f"waiting for: {waiting}")
    return " | ".join(parts + _later_phases(statistics))


def _later_phases(statistics: RunStatistics) -> list[str]:
    parts = []
    if statistics.dataset is not None and (counts := counts_words(statistics.dataset)):
        parts.append(f"dataset: {counts}")
    if statistics.fine_tune is not None:
        parts.append(f"fine-tuning: {fine_tune_status(statistics.fine_tune)}")
    return parts


def _lane_rate(model: str, statistics: RunStatistics) -> str:
    levels = [level for level in statistics.limits if level.model == model]
    return f"{model}: " + ", ".join(used_of_limit(level.used, level.limit, level.kind) for level in levels)
