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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.logs import logs_restored
from tests.telemetry.samples import ATTEMPT_FAILED, COMPLETED, EVENTS, FAILED, KEY, SECRET_TEXT, STATISTICS

from tunemill.events import CircuitChanged, Event, StateChanged
from tunemill.model import RunState
from tunemill.telemetry import (
    LineSink,
    LogFormat,
    LogLevel,
    RunEnd,
    configure_logs,
    log_events,
    log_progress,
    log_run_ended,
    run_logger,
)

END = RunEnd(folder="runs/x", rows=256, duration_s=3.21, lines_lost=7)
HOSTILE = (
    "\x1b[2Jcleared\x1b]52;c;Zm9yZ2Vk\x07 \x9b31m two\r\nforged=1 line\u2028three\x85four "
    "\u202edne\u202c \ud800 \x00 <b>"
)
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
    with logs_restored():
        yield


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


def test_the_last_line_of_a_run_answers_the_morning(stream: io.StringIO, lines: Lines) -> None:
    """The shape of `status --json`, and how long it took, where it is, and how to go on."""
    configure_logs("json", stream=stream)
    log_run_ended(run_logger("movie-plots"), STATISTICS, END)
    (line,) = lines()
    assert line.pop("event") == "run_ended"
    assert line.pop("level") == "info"
    assert line.pop("timestamp")
    assert line.pop("next") == "run again to go on: what was answered is kept"
    assert [line.pop(key) for key in ("rows", "duration_s", "folder", "log_lines_lost")] == [256, 3.2, "runs/x", 7]
    assert line == STATISTICS.to_json()
    assert line["failures"] == {"timeout": 1}


@pytest.mark.parametrize(
    ("state", "level"),
    [(RunState.FINISHED, "info"), (RunState.BUDGET_REACHED, "warning"), (RunState.FAILED, "error")],
)
def test_the_level_of_the_last_line_says_how_it_ended(
    state: RunState, level: str, stream: io.StringIO, lines: Lines
) -> None:
    """So that a rule on the log needs no more than that."""
    configure_logs("json", stream=stream)
    log_run_ended(run_logger("movie-plots"), replace(STATISTICS, state=state), END)
    assert lines()[0]["level"] == level


def test_a_progress_line_among_json_is_json(stream: io.StringIO, lines: Lines) -> None:
    """It says why it waits, with the same numbers as everywhere."""
    configure_logs("json", stream=stream)
    log_progress(run_logger("movie-plots"))(STATISTICS)
    (line,) = lines()
    assert line["event"] == "progress"
    assert line["line"].startswith("progress 201/512 39 %")
    assert line["waiting_for"] == STATISTICS.to_json()["waiting_for"]


def test_auto_is_pretty_on_a_terminal_only(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person gets words, a program gets objects."""
    monkeypatch.delenv("CI", raising=False)
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
    monkeypatch.setenv("TERM", "xterm-256color")
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


@pytest.mark.parametrize("format", ["json", "logfmt", "pretty"])
def test_whatever_is_in_a_field_a_line_stays_one_and_is_obeyed_by_nobody(
    format: LogFormat,  # noqa: A002 - the word that the flag uses
    stream: io.StringIO,
) -> None:
    """Escape sequences, line ends of every kind, C1 controls, overrides of direction, a lone surrogate, a zero byte."""
    configure_logs(format, stream=stream)
    run_logger("movie-plots").warning("odd", message=HOSTILE, nested={"x": [HOSTILE]}, thing=ValueError(HOSTILE))
    written = stream.getvalue()
    written.encode()
    assert len(written.splitlines()) == 1
    assert written.removesuffix("\n").isprintable()


def test_logfmt_has_the_same_fields(stream: io.StringIO) -> None:
    """Objects are flattened, texts with blanks are quoted, what is not there is empty."""
    configure_logs("logfmt", stream=stream)
    log_run_ended(run_logger("movie-plots"), replace(STATISTICS, reason='say "when"'), END)
    line = stream.getvalue()
    for part in (
        "level=info event=run_ended run=movie-plots state=running",
        'reason="say \\"when\\""',
        "usd.settled=0.41",
        "requests.planned=512",
        "failures.timeout=1",
        "dataset= ",
        "simulated=false",
    ):
        assert part in line


def test_the_request_id_leads_where_there_is_one(stream: io.StringIO, lines: Lines) -> None:
    """Whoever looks for a request finds it at the same place in every line."""
    configure_logs("json", "debug", stream=stream)
    for event in EVENTS:
        log_events(run_logger("movie-plots"))(event)
    found = [list(line) for line in lines() if "request_id" in line]
    assert len(found) == 4
    assert {line[4] for line in found} == {"request_id"}


def test_among_progress_lines_for_people_a_request_is_no_line(stream: io.StringIO, lines: Lines) -> None:
    """What failed for good is."""
    configure_logs("json", stream=stream)
    subscriber = log_events(run_logger("movie-plots"), brief=True)
    for event in (COMPLETED, ATTEMPT_FAILED, FAILED):
        subscriber(event)
    assert [line["event"] for line in lines()] == ["request_failed"]


def test_where_a_ci_shows_the_log_it_is_for_people(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads it, and no program; without colours, and with the date."""
    monkeypatch.setenv("CI", "true")
    configure_logs("auto", stream=stream)
    run_logger("movie-plots").info("hello", number=1)
    assert stream.getvalue()[:4].isdigit()
    assert "hello" in stream.getvalue()
    assert "run=movie-plots" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_libraries_speak_of_the_run_and_at_debug_of_themselves(stream: io.StringIO, lines: Lines) -> None:
    """What the SDK says below a warning holds prompts, and is never heard, not even when it was told to speak."""
    sdk = logging.getLogger("openai._base_client")
    for level, heard in (("info", ["sdk warns"]), ("debug", ["asyncio works", "sdk warns"])):
        stream.truncate(0)
        stream.seek(0)
        configure_logs("json", level, stream=stream, run="movie-plots")  # type: ignore[arg-type]
        logging.getLogger("asyncio").debug("asyncio works")
        sdk.setLevel(logging.DEBUG)
        sdk.debug("Request options: %s", {"prompt": SECRET_TEXT})
        sdk.warning("sdk %s", "warns")
        assert [line["message"] for line in lines()] == heard
        assert {line["run"] for line in lines()} == {"movie-plots"}
    sdk.setLevel(logging.NOTSET)


def test_a_library_that_logs_nonsense_is_heard(stream: io.StringIO, lines: Lines) -> None:
    """Arguments that do not fit raise nothing where the library stands."""
    logging.getLogger().handlers.clear()  # the test runner's own do not forgive
    configure_logs("json", stream=stream)
    logging.getLogger("aiohttp").error("%d of %s", *["many"])
    assert lines()[0]["message"] == "%d of %s"


def test_configuring_twice_does_not_log_twice(stream: io.StringIO, lines: Lines) -> None:
    """The last call counts."""
    configure_logs("json", stream=io.StringIO())
    configure_logs("json", stream=stream)
    logging.getLogger("asyncio").error("lost a task")
    assert len(lines()) == 1
