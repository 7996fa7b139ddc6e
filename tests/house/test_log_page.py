"""docs/logs.md is what the code logs: every event, its level and its fields, and nothing else."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.house.house_support import ROOT
from tests.support.logs import logs_restored
from tests.telemetry.samples import COMPLETED, EVENTS, STATISTICS

from tunemill.events import CircuitChanged, Event, FineTuneChanged
from tunemill.telemetry import RunEnd, configure_logs, log_events, log_progress, log_run_ended, run_logger

PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
FIGURES = set(STATISTICS.to_json())
LEADING = {"timestamp", "level", "event", "run", "request_id"}
_EVENT_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
_LOGGED = re.compile(r"logger(?:\([\w.]*\))?\.(?:log\([^\"]*?|debug\(|info\(|warning\(|error\()\s*\"(\w+)\"", re.DOTALL)
_END = RunEnd(folder="runs/films", rows=512, duration_s=1.0, lines_lost=0)


def _section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def _events() -> dict[str, tuple[str, set[str], set[str]]]:
    """Level, fields that are always there, and those that may be, of each event on the page."""
    events = {}
    for name, level, fields in _EVENT_ROW.findall(_section("Events")):
        named = re.findall(r"`(\w+)`(\??)", fields)
        events[name] = (
            level,
            {field for field, mark in named if not mark} | (FIGURES if "the figures" in fields else set()),
            {field for field, mark in named if mark},
        )
    return events


DOCUMENTED = _events()
EVERY_KIND: tuple[Event, ...] = (
    *EVENTS,
    CircuitChanged(lane=COMPLETED.lane, is_open=True, failures=3, reason="silent"),
    FineTuneChanged(what="event", fine_tuning_job_id=None, status=None, message="step 1"),
)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    with logs_restored():
        yield


def _lines() -> list[dict[str, Any]]:
    stream = io.StringIO()
    configure_logs("json", "debug", stream=stream)
    logger = run_logger("films")
    for event in EVERY_KIND:
        log_events(logger)(event)
    log_progress(logger)(STATISTICS)
    log_run_ended(logger, replace(STATISTICS), _END)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_the_fields_that_the_page_names() -> None:
    """All that are always there, and no other; and the level that it says."""
    for line in _lines():
        level, always, perhaps = DOCUMENTED[line["event"]]
        fields = set(line) - LEADING
        assert always - LEADING <= fields <= always | perhaps, line["event"]
        assert line["level"] in level or level == "by the state", line["event"]


def test_every_event_that_the_code_logs_is_on_the_page() -> None:
    """And every one on the page is logged."""
    sources = "\n".join(path.read_text() for path in (ROOT / "service" / "tunemill").rglob("*.py"))
    logged = {line["event"] for line in _lines()} | set(_LOGGED.findall(sources))
    assert logged == set(DOCUMENTED)


def test_every_field_is_explained() -> None:
    """In the table of fields, among the leading ones, or as one of the figures."""
    leading = PAGE.split("\n## Events\n")[0]
    explained = set(re.findall(r"`(\w+)`", _section("Fields") + leading))
    fields = {field for _, always, perhaps in DOCUMENTED.values() for field in always | perhaps}
    assert fields - explained - FIGURES == set()
    figures = _section("Events").split("The figures are those of")[1]
    assert FIGURES - {"run"} <= set(re.findall(r"`(\w+)`", figures))
