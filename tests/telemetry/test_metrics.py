"""The metrics are the statistics, under names and labels that Prometheus accepts."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.telemetry.samples import (
    ATTEMPT_FAILED,
    COMPLETED,
    EVENTS,
    FAILED,
    FINISHED,
    STATISTICS,
    UNKNOWN,
    openmetrics_families,
)

from tunemill.answers import outcome_of
from tunemill.model import Completion, RunState, WaitReason
from tunemill.statistics import RunStatistics
from tunemill.telemetry.http.server import encoded_metrics
from tunemill.telemetry.metrics.registry import RunMetrics
from tunemill.telemetry.metrics.table import ANSWERED, OUTCOMES, RESULTS, TOKEN_KINDS

Labels = Mapping[str, str]


def _exposed(metrics: RunMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def _values(text: str, name: str) -> list[tuple[Labels, float]]:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return [(sample.labels, sample.value) for sample in samples if sample.name == name]


def _value(statistics: RunStatistics, name: str, **labels: str) -> float:
    values = _values(_exposed(RunMetrics(lambda: statistics)), name)
    (value,) = [value for of, value in values if of == _labels(**labels)]
    return value


def _labels(**labels: str) -> dict[str, str]:
    """These labels, and the run's name that every series has."""
    return {"run": STATISTICS.run, **labels}


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("tunemill_requests", {"state": "completed"}, 200),
        ("tunemill_requests", {"state": "failed"}, 1),
        ("tunemill_requests", {"state": "waiting"}, 247),
        ("tunemill_requests", {"state": "in_flight"}, 64),
        ("tunemill_requests_finished_total", {"step": "outline", "outcome": "length"}, 10),
        ("tunemill_attempts_total", {"step": "outline", "result": "completed"}, 200),
        ("tunemill_attempts_total", {"step": "outline", "result": "rate_limited"}, 9),
        ("tunemill_tokens_total", {"step": "outline", "kind": "output"}, 180_500),
        ("tunemill_cost_usd_total", {"kind": "settled"}, 0.41),
        ("tunemill_cost_usd_total", {"kind": "uncertain"}, 0.002),
        ("tunemill_reserved_usd", {}, 0.05),
        ("tunemill_budget_usd", {}, 25.0),
        ("tunemill_forecast_usd", {}, 1.06),
        ("tunemill_waiting", {"reason": "requests_per_minute"}, 12),
        ("tunemill_waiting", {"reason": "outage"}, 0),
        ("tunemill_limit", {"model": "gpt-4o-mini", "kind": "requests_per_minute"}, 500),
        ("tunemill_limit_used", {"model": "gpt-4o-mini", "kind": "concurrency"}, 64),
        ("tunemill_run_state", {"state": "running"}, 1),
        ("tunemill_run_state", {"state": "finished"}, 0),
        ("tunemill_requests_finished_total", {"step": "outline", "outcome": "empty"}, 0),
        ("tunemill_attempts_total", {"step": "outline", "result": "overloaded"}, 0),
        ("tunemill_run_info", {"simulated": "false"}, 1),
        ("tunemill_circuit_open", {"model": "gpt-4o-mini"}, 0),
        ("tunemill_circuit_open", {"model": "judge/llama"}, 1),
        ("tunemill_eta_seconds", {}, 340),
        ("tunemill_rows_beyond_budget", {}, 12),
        ("tunemill_last_answer_timestamp_seconds", {}, 1_790_000_000.5),
        ("tunemill_journal_pending_lines", {}, 3),
        ("tunemill_journal_write_age_seconds", {}, 0.25),
        ("tunemill_journal_write_failures_total", {}, 0),
    ],
)
def test_each_figure_is_the_one_in_the_statistics(name: str, labels: dict[str, str], value: float) -> None:
    """Screen, status and metrics agree because they read the same value."""
    assert _value(STATISTICS, name, **labels) == value


def test_the_figures_are_those_of_the_moment_of_asking() -> None:
    """Nothing is moved by hand, so nothing drifts; and registering asks for nothing."""
    moments = iter((STATISTICS, FINISHED))
    metrics = RunMetrics(lambda: next(moments))
    texts = [_exposed(metrics), _exposed(metrics)]
    states = [_values(text, "tunemill_requests")[0] for text in texts]
    assert states == [(_labels(state="completed"), 200.0), (_labels(state="completed"), 511.0)]


def test_planned_is_the_sum_of_what_requests_are() -> None:
    """So that a sum over the label means something."""
    values = _values(_exposed(RunMetrics(lambda: STATISTICS)), "tunemill_requests")
    assert sum(value for _, value in values) == STATISTICS.requests.planned


def test_every_series_names_its_run() -> None:
    """Also the process's own: what is pushed, or comes from another address after a restart, stays one run."""
    metrics = RunMetrics(lambda: STATISTICS)
    for event in EVENTS:
        metrics.on_event(event)
    families = list(text_string_to_metric_families(_exposed(metrics)))
    assert {sample.labels["run"] for family in families for sample in family.samples} == {STATISTICS.run}
    assert {"process_resident_memory_bytes", "tunemill_answer_tokens"} <= {family.name for family in families}


@pytest.mark.parametrize(
    "name",
    [
        "tunemill_budget_usd",
        "tunemill_forecast_usd",
        "tunemill_rows_beyond_budget",
        "tunemill_eta_seconds",
        "tunemill_limit",
    ],
)
def test_what_is_unknown_has_no_sample(name: str) -> None:
    """Unknown is not zero."""
    assert _values(_exposed(RunMetrics(lambda: UNKNOWN)), name) == []


def test_every_series_that_may_come_is_there_from_the_start() -> None:
    """So that no series begins in the middle of a run, and no rate misses how it began."""
    text = _exposed(RunMetrics(lambda: replace(UNKNOWN, finished={}, attempts={}, tokens={})))
    assert len(_values(text, "tunemill_waiting")) == len(WaitReason)
    assert len(_values(text, "tunemill_run_state")) == len(RunState)
    for name, known in (("requests_finished", OUTCOMES), ("attempts", RESULTS), ("tokens", TOKEN_KINDS)):
        values = _values(text, f"tunemill_{name}_total")
        assert len(values) == len(UNKNOWN.steps) * len(known)
        assert {value for _, value in values} == {0.0}


def test_the_outcomes_are_all_that_an_answer_may_come_to() -> None:
    """What `answers` calls an answer that it has not seen before is `other`, too."""
    reasons = {
        outcome_of(Completion(text=text, finish_reason=reason, refusal=refusal))
        for text in ("", "text")
        for reason in ("stop", "length", "content_filter", "tool_calls", "function_call", "missing", "never heard of")
        for refusal in (None, "no")
    }
    assert reasons == set(ANSWERED)


def test_what_a_provider_makes_up_is_counted_as_other() -> None:
    """A label set that a server can extend would leak memory in Prometheus."""
    finished = {("outline", f"reason-{number}"): 2 for number in range(1_000)} | {("outline", "stop"): 5}
    values = _values(
        _exposed(RunMetrics(lambda: replace(STATISTICS, finished=finished))), "tunemill_requests_finished_total"
    )
    assert [each for each in values if each[1]] == [
        (_labels(step="outline", outcome="other"), 2_000.0),
        (_labels(step="outline", outcome="stop"), 5.0),
    ]


def test_a_hostile_model_name_stays_one_label_value() -> None:
    """Quotes, backslashes and newlines are escaped."""
    name = 'a"b\\c\n{evil="1"} 1'
    levels = (replace(STATISTICS.limits[0], model=name),)
    ((labels, _),) = _values(_exposed(RunMetrics(lambda: replace(STATISTICS, limits=levels))), "tunemill_limit")
    assert labels["model"] == name


def test_events_feed_the_histograms_alone() -> None:
    """Durations of attempts (also failed ones), commits and delays."""
    metrics = RunMetrics(lambda: STATISTICS)
    for event in EVENTS:
        metrics.on_event(event)
    text = _exposed(metrics)
    attempts_s = COMPLETED.duration_s + ATTEMPT_FAILED.duration_s + (FAILED.duration_s or 0)
    assert _values(text, "tunemill_attempt_duration_seconds_count") == [(_labels(), 3.0)]
    assert _values(text, "tunemill_attempt_duration_seconds_sum")[0][1] == pytest.approx(attempts_s)
    assert _values(text, "tunemill_journal_commit_seconds_count") == [(_labels(), 1.0)]
    assert _values(text, "tunemill_retry_delay_seconds_sum") == [(_labels(), 12.0)]
    assert _values(text, "tunemill_answer_tokens_sum") == [(_labels(step="outline"), 812.0)]


def test_an_answer_of_unknown_length_has_no_length() -> None:
    """A provider that sends no usage does not make answers shorter."""
    metrics = RunMetrics(lambda: STATISTICS)
    metrics.on_event(replace(COMPLETED, usage=None))
    assert _values(_exposed(metrics), "tunemill_answer_tokens_count") == []


def test_a_request_that_was_never_sent_took_no_time() -> None:
    """Its failure has no duration, and a zero would falsify the histogram."""
    metrics = RunMetrics(lambda: STATISTICS)
    metrics.on_event(replace(FAILED, duration_s=None))
    assert _values(_exposed(metrics), "tunemill_attempt_duration_seconds_count") == [(_labels(), 0.0)]


def test_two_runs_in_one_process_do_not_meet() -> None:
    """Each has a registry of its own."""
    one, other = RunMetrics(lambda: STATISTICS), RunMetrics(lambda: FINISHED)
    one.on_event(COMPLETED)
    assert _values(_exposed(other), "tunemill_attempt_duration_seconds_count") == [(_labels(), 0.0)]


def test_the_process_is_measured_too() -> None:
    """Memory, CPU and file descriptors."""
    assert _values(_exposed(RunMetrics(lambda: STATISTICS)), "process_resident_memory_bytes")


@pytest.mark.parametrize("statistics", [STATISTICS, UNKNOWN, FINISHED])
def test_both_formats_parse_and_keep_the_rules(statistics: RunStatistics) -> None:
    """What promtool checks, for machines without it: help, base units, suffixes, no series twice."""
    metrics = RunMetrics(lambda: statistics)
    for event in EVENTS:
        metrics.on_event(event)
    body, content_type = encoded_metrics(metrics.registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics_families(body.decode())
    for family in text_string_to_metric_families(_exposed(metrics)):
        assert family.documentation, family.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert not re.search(r"_(ms|minutes|milliseconds|kb|count|sum|bucket|gauge|counter|histogram)$", family.name)
        assert (family.type == "counter") == all(
            s.name.endswith("_total") for s in family.samples if family.samples
        ) or (not family.samples)
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(series) == len(set(series)), family.name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="the rules are checked with our own parser above")
@pytest.mark.parametrize("statistics", [STATISTICS, UNKNOWN, FINISHED])
def test_promtool_has_nothing_to_say(statistics: RunStatistics) -> None:
    """Prometheus's own linter, where it is installed."""
    metrics = RunMetrics(lambda: statistics)
    for event in EVENTS:
        metrics.on_event(event)
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=_exposed(metrics),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
