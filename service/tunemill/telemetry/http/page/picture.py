"""A run at one moment as the page shows it: JSON whose words are those of the terminal. Pure.

Promises: no text in it comes from outside unmasked or with anything hidden in it; its size is bounded.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from tunemill.events import CircuitChanged, Failed, FineTuneChanged
from tunemill.model import FailureKind, Json, JsonObject, Lane, Picodollars, RunState, picodollars, usd
from tunemill.statistics import LimitLevel, Money, RunStatistics
from tunemill.telemetry.http.page.answers import LABEL_CHARS_MAX, MESSAGE_CHARS_MAX, shown_line
from tunemill.telemetry.http.page.history import LaneRates, Sample
from tunemill.telemetry.recent import RecentEvents
from tunemill.telemetry.verdict import verdict
from tunemill.telemetry.words import (
    budget_short_words,
    budget_words,
    circuit_words,
    counts_words,
    dollars,
    duration,
    fine_tune_status,
    grace_words,
    in_flight_words,
    percent,
    rough_duration,
    spent_words,
    state_words,
    used_of_limit,
    waiting_list,
)

MODELS_MAX = 6
OUTCOMES_MAX = 40
AT_WORK = frozenset((RunState.RUNNING, RunState.PAUSED, RunState.DRAINING))
_RATE_KINDS = ("requests_per_minute", "tokens_per_minute")
_KINDS = frozenset(kind.value for kind in FailureKind)


def picture(statistics: RunStatistics, recent: RecentEvents, *, elapsed_s: float, silent_s: float) -> JsonObject:
    """The figures in words and numbers. `elapsed_s` is from when this process began to the run's end, or until now;
    `silent_s` as `verdict` has it."""
    said = verdict(statistics, silent_s=silent_s, is_budget_short=recent.budget_short is not None)
    return {
        "run": _label(statistics.run),
        "state": statistics.state.value,
        "state_words": state_words(statistics.state),
        "simulated": statistics.simulated,
        "level": said.level.value,
        "sentence": said.sentence,
        "reason": _message(statistics.reason),
        "grace": grace_words(statistics),
        "elapsed": _elapsed(statistics.state, elapsed_s),
        "trouble": [_trouble(lane, circuit) for lane, circuit in recent.circuits.items()],
        "progress": _progress(statistics),
        "money": _money(statistics.money, recent),
        "waiting": _waiting(statistics),
        "lanes": _lanes(statistics),
        "outcomes": _outcomes(statistics),
        "failures": _failures(statistics, recent),
        "retries": _retries(recent),
        "dataset": "" if statistics.dataset is None else counts_words(statistics.dataset),
        "fine_tune": _fine_tune(statistics.fine_tune, recent.fine_tune),
    }


def _elapsed(state: RunState, elapsed_s: float) -> str:
    words = rough_duration(elapsed_s)
    return f"{words} so far" if state is RunState.IDLE or state in AT_WORK else f"took {words}"


def sample(statistics: RunStatistics, *, at: float) -> Sample:
    """The moment for the history."""
    money = statistics.money
    return Sample(
        at=at,
        spent=usd(money.settled + money.uncertain),
        forecast=None if money.forecast is None else usd(money.forecast),
        budget=None if money.budget is None else usd(money.budget),
        done=statistics.requests.completed + statistics.requests.failed,
        rates=tuple(_rates(model, statistics) for model in _models(statistics)),
    )


def _waiting(statistics: RunStatistics) -> list[Json]:
    """What keeps a run that works from sending; one that has ended waits for nothing."""
    if statistics.state not in AT_WORK:
        return []
    return [{"words": words, "count": count} for words, count in waiting_list(statistics.waiting_for)]


def _progress(statistics: RunStatistics) -> JsonObject:
    counts = statistics.requests
    done = counts.completed + counts.failed
    eta_s = None if statistics.circuits_open else statistics.eta_s  # nobody knows how long an outage lasts
    return {
        "planned": counts.planned,
        "completed": counts.completed,
        "failed": counts.failed,
        "in_flight": counts.in_flight,
        "waiting": counts.waiting,
        "done": done,
        "percent": percent(done, counts.planned),
        "in_flight_words": in_flight_words(statistics),
        "eta_s": eta_s,
        "eta": "" if eta_s is None else rough_duration(eta_s),
    }


def _money(money: Money, recent: RecentEvents) -> JsonObject:
    used = money.settled + money.uncertain + money.reserved
    return {
        "settled": dollars(money.settled),
        "spent": dollars(money.settled + money.uncertain),
        "spent_words": spent_words(money),
        "budget": _dollars(money.budget),
        "forecast": _dollars(money.forecast),
        "used": "" if money.budget is None else percent(used, money.budget),
        "budget_words": budget_words(money),
        "shares": [] if not money.budget else [part / money.budget for part in _parts(money)],
        "warning": budget_short_words(recent.budget_short),
    }


def _parts(money: Money) -> tuple[Picodollars, Picodollars, Picodollars]:
    return money.settled, money.uncertain, money.reserved


def _dollars(amount: Picodollars | None) -> str:
    return "" if amount is None else dollars(amount)


# -- models ------------------------------------------------------------------------------------------------------------


def _models(statistics: RunStatistics) -> list[str]:
    """Those whose limits are kept; "" stands for all where nothing is known of any."""
    return list(islice(dict.fromkeys(level.model for level in statistics.limits), MODELS_MAX)) or [""]


def _levels(model: str, statistics: RunStatistics) -> dict[str, LimitLevel]:
    return {level.kind: level for level in statistics.limits if level.model == model}


def _rates(model: str, statistics: RunStatistics) -> LaneRates:
    levels = _levels(model, statistics)
    used, limits = [], []
    for kind, measured in zip(_RATE_KINDS, (statistics.requests_per_minute, statistics.tokens_per_minute), strict=True):
        level = levels.get(kind)
        is_only = len(_models(statistics)) == 1
        used.append(measured if is_only else None if level is None else level.used)
        limits.append(None if level is None else level.limit)
    return LaneRates(requests=used[0], requests_limit=limits[0], tokens=used[1], tokens_limit=limits[1])


def _lanes(statistics: RunStatistics) -> list[Json]:
    lanes: list[Json] = []
    for model in _models(statistics):
        rates, at_once = _rates(model, statistics), _levels(model, statistics).get("concurrency")
        lanes.append(
            {
                "model": _label(model),
                "requests": _used(rates.requests, rates.requests_limit, "requests_per_minute"),
                "tokens": _used(rates.tokens, rates.tokens_limit, "tokens_per_minute"),
                "at_once": "" if at_once is None else _used(at_once.used, at_once.limit, "concurrency"),
            }
        )
    return lanes


def _used(used: float | None, limit: float | None, kind: str) -> str:
    return "" if used is None else used_of_limit(used, limit, kind)


# -- what went how -----------------------------------------------------------------------------------------------------


def _outcomes(statistics: RunStatistics) -> list[Json]:
    """How completions ended, most first; failures are apart."""
    ended = Counter({key: count for key, count in statistics.finished.items() if key[1] not in _KINDS})
    return [
        {"step": _label(step), "outcome": _label(outcome), "count": count}
        for (step, outcome), count in ended.most_common(OUTCOMES_MAX)
    ]


def _failures(statistics: RunStatistics, recent: RecentEvents) -> list[Json]:
    """By class, most first, over the whole run, each with the last example that this process saw."""
    by_kind: Counter[str] = Counter()
    for (_, outcome), count in statistics.finished.items():
        if outcome in _KINDS:
            by_kind[outcome] += count
    return [
        {"kind": kind, "count": count, "example": _example(recent.failure_of.get(FailureKind(kind)))}
        for kind, count in by_kind.most_common()
    ]


def _example(failed: Failed | None) -> Json:
    if failed is None:
        return None
    return {
        "step": _label(failed.step),
        "row": shown_line(failed.row_id, 12),
        "attempts": failed.attempts,
        "message": _message(failed.message),
    }


def _retries(recent: RecentEvents) -> JsonObject:
    retry = recent.retry
    last = "" if retry is None else f"{retry.step}: again in {duration(retry.delay_s)}. {retry.message}"
    return {
        "kinds": [{"kind": kind, "count": count} for kind, count in recent.retries.most_common()],
        "last": _message(last),
    }


def _trouble(lane: Lane, circuit: CircuitChanged) -> str:
    name = f"{lane.provider}/{lane.model}" if lane.provider else lane.model
    return circuit_words(_label(name), circuit.failures, _message(circuit.reason))


# -- fine-tuning -------------------------------------------------------------------------------------------------------


def _fine_tune(figures: JsonObject | None, events: Sequence[FineTuneChanged]) -> Json:
    if figures is None and not events:
        return None
    known = figures or {}
    simulated = " simulated" if known.get("simulated") else ""
    facts: list[Json] = []
    for name, key in (("job", "job_id"), ("base model", "base_model"), ("tuned model", "model"), ("error", "error")):
        if isinstance(value := known.get(key), str) and value:
            facts.append([name, _message(value)])
    for name, key in (("cost", "usd"), ("estimated cost", "usd_estimated")):
        if isinstance(amount := known.get(key), int | float):
            facts.append([name, dollars(picodollars(amount)) + simulated])
            break
    return {
        "status": _label(fine_tune_status(known)),
        "facts": facts,
        "events": [_message(event.message or event.what) for event in events],
    }


def _label(text: str) -> str:
    return shown_line(text, LABEL_CHARS_MAX)


def _message(text: str) -> str:
    return shown_line(text, MESSAGE_CHARS_MAX)
