"""`status` and `show`: a run as its folder tells it."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from tunemill.answers import outcome_of, parse_completion
from tunemill.app.control import STATUS_TIMEOUT_S, NoAnswer, live_status
from tunemill.app.folder import RunFolder, existing
from tunemill.app.open_run import RecordedRun, reading
from tunemill.app.pilot import prompt_text
from tunemill.app.reading import Outcome, outcomes
from tunemill.app.recorded import is_simulated, statistics_of
from tunemill.cli.output import page, print_json, print_pairs, talk
from tunemill.journal import RequestState
from tunemill.model import Json, RunState, picodollars
from tunemill.statistics import RunStatistics
from tunemill.telemetry import answer_panel, dollars, duration
from tunemill.telemetry.words import (
    budget_words,
    counts_words,
    go_on_words,
    grace_words,
    rate_words,
    rough_duration,
    spent_words,
    state_words,
    waiting_words,
)
from tunemill.templates import Expression


def show_status(name: str, *, as_json: bool) -> None:
    """Print the figures: those of the process that works on it, or where none answers, those on record."""
    found = existing(name)
    answer = live_status(found)
    statistics = answer if isinstance(answer, RunStatistics) else _on_record(found)
    process = "answers" if isinstance(answer, RunStatistics) else answer.value
    if as_json:
        print_json({**statistics.to_json(), "process": process, "folder": str(found.path)})
        return
    lines = [*_status_lines(statistics), ("folder", str(found.path))]
    if isinstance(answer, NoAnswer) and (unasked := _unasked(found, answer)):
        lines.insert(0, ("process", unasked))
    print_pairs(lines)


def _unasked(folder: RunFolder, answer: NoAnswer) -> str:
    """Why the process that works on the run was not asked; "" where there is none."""
    process = f"{folder.holder or 'unknown'}"
    match answer:
        case NoAnswer.SILENT:
            return (
                f"{process} holds the run and did not answer within {STATUS_TIMEOUT_S:.0f} s: it hangs, or was "
                "stopped. What follows is what it has written down"
            )
        case NoAnswer.BUSY:
            return f"{process} is at work on it and takes no questions now. What follows is what is written down"
        case NoAnswer.NOBODY:
            return ""


def _on_record(folder: RunFolder) -> RunStatistics:
    with reading(folder) as run:
        return statistics_of(run, os.environ)


def _status_lines(statistics: RunStatistics) -> Iterator[tuple[str, str]]:
    is_at_work = statistics.state in {RunState.RUNNING, RunState.PAUSED, RunState.DRAINING}
    counts, money = statistics.requests, statistics.money
    mark = " (simulated)" if statistics.simulated else ""
    yield "run", statistics.run + mark
    reason = f": {statistics.reason}" if statistics.reason else ""
    yield "state", state_words(statistics.state) + reason
    yield (
        "requests",
        f"{counts.completed:,} of {counts.planned:,} completed, {counts.failed:,} failed, "
        f"{counts.waiting:,} waiting, {counts.in_flight:,} in flight",
    )
    if failures := statistics.failures():
        yield "failures", ", ".join(f"{kind} {count:,}" for kind, count in failures.items())
    if statistics.requests_per_minute:
        eta = "" if statistics.eta_s is None else f"; ETA {rough_duration(statistics.eta_s)}"
        yield "rate", ", ".join(rate_words(statistics)) + eta
    if grace := grace_words(statistics):
        yield "ending", grace
    elif statistics.waiting_for:
        yield "waits for", waiting_words(statistics.waiting_for)
    yield "dollars", f"{spent_words(money)}{mark}; {budget_words(money)}"
    tokens = {kind: statistics.tokens_of(kind) for kind in ("input", "output")}
    yield "tokens", f"{tokens['input']:,} in, {tokens['output']:,} out"
    if statistics.dataset is not None:
        yield "dataset", counts_words(statistics.dataset)
    if statistics.fine_tune is not None:
        tune = statistics.fine_tune
        known = [str(tune[key]) for key in ("state", "status", "job_id", "model", "error") if tune.get(key)]
        yield "fine-tune", ", ".join(known)
    if not is_at_work and statistics.state is not RunState.IDLE:
        yield "next", go_on_words(statistics.state)


def show_completions(name: str, *, failed: bool, where: str | None, as_json: bool) -> None:
    """Print completions, or failures, that the expression picks."""
    picks = _picker(where)
    with reading(existing(name)) as run:
        simulated = is_simulated(run)
        console = page()
        shown = 0
        for entry in _entries(run, failed=failed):
            if not picks(entry):
                continue
            shown += 1
            if as_json:
                print_json(entry, indented=False)
            else:
                console.print(answer_panel(**_panel(entry, simulated=simulated)))
        if not shown:
            talk(
                f"nothing to show: the run has no {'failures' if failed else 'completions'}"
                + (" like that" if where else "")
            )


def _picker(where: str | None) -> Callable[[dict[str, Any]], bool]:
    if where is None:
        return lambda _: True
    expression = Expression.parse(where, key="--where")
    return lambda entry: expression.holds({**entry["fields"], **entry, "chars": len(entry["text"])})


def _entries(run: RecordedRun, *, failed: bool) -> Iterator[dict[str, Any]]:
    state = RequestState.FAILED if failed else RequestState.COMPLETED
    for outcome in outcomes(run.journal, run.steps, state):
        yield _failure(outcome) if failed else _completion(outcome)


def _completion(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    completion = parse_completion(record["answer"], record["provider_request_id"])
    tool_calls: Json = list(completion.tool_calls)
    return {
        **_common(outcome),
        "outcome": outcome_of(completion),
        "text": completion.text,
        "refusal": completion.refusal,
        "tool_calls": tool_calls,
        "usage": record["tokens"],
        "usd": record["usd"],
        "duration_s": record["duration_s"],
        "model": completion.model,
    }


def _failure(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    return {
        **_common(outcome),
        "outcome": record["failure"],
        "text": "",
        "message": record["message"],
        "attempts": record["attempt"],
        "usage": None,
        "usd": 0.0,
    }


def _common(outcome: Outcome) -> dict[str, Any]:
    return {
        "request_id": outcome.record["request_id"],
        "row": outcome.row.id,
        "row_id": outcome.row.id,
        "position": outcome.position,
        "step": outcome.step,
        "sample": outcome.sample,
        "prompt": prompt_text(outcome.prompt),
        "fields": outcome.row.fields,
    }


def _panel(entry: dict[str, Any], *, simulated: bool) -> dict[str, str]:
    if "message" in entry:
        footer = f"failed for good: {entry['outcome']}, {entry['attempts']} attempts"
        text = entry["message"]
    else:
        mark = " simulated" if simulated else ""
        footer = f"{entry['outcome']}, {dollars(picodollars(entry['usd']))}{mark}, {duration(entry['duration_s'])}"
        text = entry["text"] or entry["refusal"] or ""
    return {
        "title": f"{entry['step']} {entry['row'][:8]}",
        "prompt": entry["prompt"],
        "text": text,
        "footer": footer,
    }
