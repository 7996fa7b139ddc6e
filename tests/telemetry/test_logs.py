"""Log lines: their shape, what they never hold, and where they go."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.telemetry.samples import ATTEMPT_FAILED, COMPLETED, EVENTS, FAILED, KEY, SECRET_TEXT, STATISTICS

from tunemill.events import CircuitChanged, Event, StateChanged
from tunemill.model import RunState
from tunemill.telemetry import LineSink, LogLevel, configure_logs, log_events, log_progress, log_run_ended, run_logger

Lines = Callable[[], list[dict[str, Any]]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """What is configured for the process is set back."""
    handlers = list(logging.getLogger().handlers)
    yield
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def _logged(event: Event, *, level: LogLevel = "debug", calm: bool = False) -> list[dict[str, Any]]:
    stream = io.StringIO()
    configure_logs("json", level, stream=stream)
    log_events(run_logger("movie-plots"), calm=calm)(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_event_is_one_object_with_the_leading_fields_first(stream: io.StringIO, lines: Lines) -> None:
    """timestamp, level, event and run lead every line; the timestamp is ISO 8601 in UTC."""
    configure_logs("json", "debug", stream=stream)
    subscriber = log_events(run_logger("movie-plots"))
    for event in EVENTS:
        subscriber(event)
    assert len(lines()) == len(EVENTS)
    for line in lines():
        assert list(line)[:4] == ["timestamp", "level", "event", "run"]
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(hours=1)
        assert line["run"] == "movie-plots"


def test_event_names_are_constant() -> None:
    """Dashboards and alerts are built on them."""
    assert [_logged(event)[0]["event"] for event in EVENTS] == [
        "run_started",
        "request_sent",
        "attempt_failed",
        "request_completed",
        "request_failed",
        "limit_changed",
        "circuit_opened",
        "circuit_closed",
        "journal_committed",
        "budget_short",
        "state_changed",
        "dataset_built",
        "fine_tune_changed",
        "budget_changed",
        "recipe_reloaded",
        "recipe_reload_refused",
    ]


def test_a_completion_is_logged_with_its_figures_and_without_its_text() -> None:
    """Tokens, dollars and time are there; what the model wrote is not."""
    (line,) = _logged(COMPLETED)
    assert {key: line[key] for key in ("outcome", "input_tokens", "output_tokens", "usd", "duration_s")} == {
        "outcome": "stop",
        "input_tokens": 120,
        "output_tokens": 812,
        "usd": 0.0021,
        "duration_s": 3.21,
    }
    assert SECRET_TEXT not in json.dumps(line)


def test_missing_usage_is_null_and_not_zero() -> None:
    """Unknown is not zero."""
    (line,) = _logged(replace(COMPLETED, usage=None))
    assert line["input_tokens"] is None


def test_at_info_only_outcomes_are_logged() -> None:
    """Sent and JournalCommitted are for debugging."""
    logged = [line["event"] for event in EVENTS for line in _logged(event, level="info")]
    assert "request_completed" in logged
    assert "request_sent" not in logged
    assert "journal_committed" not in logged


def test_beside_a_live_display_only_what_is_to_be_found_again_is_logged() -> None:
    """Circuits, and what was changed in mid-run. The display shows all the rest, and the screen holds still."""
    logged = [line["event"] for event in EVENTS for line in _logged(event, level="info", calm=True)]
    assert logged == ["circuit_opened", "circuit_closed", "budget_changed", "recipe_reloaded", "recipe_reload_refused"]


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (FAILED, "warning"),
        (ATTEMPT_FAILED, "info"),
        (CircuitChanged(lane=COMPLETED.lane, is_open=True, failures=3), "warning"),
        (StateChanged(state=RunState.REFUSED, reason="bad key"), "error"),
        (StateChanged(state=RunState.BUDGET_REACHED, reason="raise it"), "warning"),
        (StateChanged(state=RunState.FINISHED, reason="done"), "info"),
    ],
)
def test_the_level_says_whether_somebody_should_look(event: Event, level: str) -> None:
    """A retry is routine; a request given up is a warning; a refused run is an error."""
    assert _logged(event)[0]["level"] == level


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.text(max_size=20), after=st.text(st.characters(exclude_categories=["L", "N"]), max_size=20))
def test_no_key_in_a_message_gets_into_a_line(before: str, after: str) -> None:
    """Whatever a provider wraps around it."""
    (line,) = _logged(replace(FAILED, message=f"{before} {KEY} {after}"))
    assert KEY not in json.dumps(line)


def test_keys_are_masked_in_nested_fields_and_tracebacks(stream: io.StringIO) -> None:
    """The mask is the last line of defence for whoever logs whatever, and local variables are never shown."""
    configure_logs("json", stream=stream, secrets=["correct horse battery"])
    logger = run_logger("movie-plots")
    local_prompt = "Once upon a time"
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        logger.exception("oops", detail={"headers": [f"Bearer {KEY}", "correct horse battery"]})
    assert "ValueError: bad key" in stream.getvalue()
    assert not [s for s in (KEY, "correct horse battery", local_prompt) if s in stream.getvalue()]


def test_a_long_message_is_cut_and_kept_on_one_line() -> None:
    """A gateway's error page is not a log line."""
    (line,) = _logged(replace(FAILED, message="<html>\n" + "x" * 100_000))
    assert len(line["message"]) <= 500
    assert "\n" not in line["message"]


def test_what_json_cannot_hold_is_still_logged(stream: io.StringIO, lines: Lines) -> None:
    """A lone surrogate, an integer beyond 64 bits, an object of any kind."""
    configure_logs("json", stream=stream)
    run_logger("movie-plots").info("odd", text="\ud800", number=2**70, thing=io)
    assert lines()[0]["number"] == 2**70


def test_the_last_line_of_a_run_is_the_status(stream: io.StringIO, lines: Lines) -> None:
    """`run_ended` and `status --json` share one shape."""
    configure_logs("json", stream=stream)
    log_run_ended(run_logger("movie-plots"), STATISTICS)
    (line,) = lines()
    assert line.pop("event") == "run_ended"
    assert line.pop("level") == "info"
    assert line.pop("timestamp")
    assert line == STATISTICS.to_json()


def test_a_progress_line_among_json_is_json(stream: io.StringIO, lines: Lines) -> None:
    """It says why it waits, with the same numbers as everywhere."""
    configure_logs("json", stream=stream)
    log_progress(run_logger("movie-plots"))(STATISTICS)
    (line,) = lines()
    assert line["event"] == "progress"
    assert line["line"].startswith("progress 201/512 39 %")
    assert line["waiting_for"] == STATISTICS.to_json()["waiting_for"]


def test_auto_is_pretty_on_a_terminal_only(stream: io.StringIO) -> None:
    """A person gets words, a program gets objects."""
    terminal = Terminal()
    for each in (terminal, stream):
        configure_logs("auto", stream=each)
        run_logger("movie-plots").info("hello", number=1)
    assert stream.getvalue().startswith('{"timestamp"')
    assert "hello" in terminal.getvalue()
    assert "{" not in terminal.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes the colours from a terminal's log lines."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure_logs("pretty", stream=terminal)
    run_logger("movie-plots").info("hello", number=1)
    assert "\x1b" not in terminal.getvalue()


def test_a_pretty_line_obeys_nobody(stream: io.StringIO) -> None:
    """What JSON would escape is removed before a terminal sees it."""
    configure_logs("pretty", stream=stream)
    run_logger("movie-plots").warning("hello", message="\x1b[2Jcleared\nforged line", nested={"x": "\x1b[2J"})
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_a_broken_pipe_loses_lines_and_nothing_else() -> None:
    """A run that is paid for does not end because nobody reads its log; what was lost is counted."""
    sink = configure_logs("json", stream=BrokenPipe())
    run_logger("movie-plots").info("hello")
    assert sink.lines_lost == 1


def test_a_closed_stream_loses_lines_and_nothing_else(stream: io.StringIO) -> None:
    """The same where the stream itself is closed."""
    sink = configure_logs("json", stream=stream)
    stream.close()
    run_logger("movie-plots").info("hello")
    assert sink.lines_lost == 1


def test_lines_can_be_diverted_for_a_while(stream: io.StringIO) -> None:
    """So that a live display prints them above itself."""
    sink = LineSink(stream)
    above: list[str] = []
    sink.divert(above.append)
    sink.write("one")
    sink.restore()
    sink.write("two")
    assert above == ["one"]
    assert stream.getvalue() == "two\n"


def test_warnings_of_libraries_become_lines(stream: io.StringIO, lines: Lines) -> None:
    """stderr stays one object a line, and their keys are masked too."""
    configure_logs("json", stream=stream)
    logging.getLogger("aiohttp.client").warning("sent %s", KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines()] == ["aiohttp.client", "py.warnings"]
    assert KEY not in stream.getvalue()


def test_configuring_twice_does_not_log_twice(stream: io.StringIO, lines: Lines) -> None:
    """The last call counts."""
    configure_logs("json", stream=io.StringIO())
    configure_logs("json", stream=stream)
    logging.getLogger("asyncio").error("lost a task")
    assert len(lines()) == 1
