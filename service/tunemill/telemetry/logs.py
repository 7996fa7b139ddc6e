"""How log lines look and where they go: pretty on a terminal, JSON elsewhere, never with a key in them.

A JSON line is one object: `timestamp` (ISO 8601, UTC), `level`, `event`, `run`, then the event's own fields. Whatever
looks like a key is masked in every line, whoever wrote it, and also in the warnings of libraries, which come the same
way (`library_log`). What cannot be written is dropped and counted: a broken pipe on stderr must not end a run that is
paid for. Knows no event.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Literal, TextIO, TypeAlias

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from tunemill.telemetry.safe_text import harmless, mask_secrets, one_line

LogFormat: TypeAlias = Literal["auto", "pretty", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FIELD_CHARS_MAX = 5_000
_TRACEBACK_CHARS_MAX = 50_000
_LEADING_FIELDS = ("timestamp", "level", "event", "run")


class LineSink:
    """Where finished lines go: the stream, or for a while elsewhere (above a live display). Counts what was lost."""

    __slots__ = ("_elsewhere", "_stream", "lines_lost")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._elsewhere: Callable[[str], None] | None = None
        self.lines_lost = 0

    def write(self, line: str) -> None:
        """Write one line, given without its newline."""
        if self._elsewhere is not None:
            self._elsewhere(line)
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a pipe that nobody reads any more, or a stream that is closed
            self.lines_lost += 1

    def divert(self, elsewhere: Callable[[str], None]) -> None:
        """From now on hand each line to `elsewhere`."""
        self._elsewhere = elsewhere

    def restore(self) -> None:
        """From now on write to the stream again."""
        self._elsewhere = None


def configure_logs(
    format: LogFormat = "auto",  # noqa: A002 - the word that the flag uses
    level: LogLevel = "info",
    *,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> LineSink:
    """Set up structlog for the process, and the warnings of libraries with it; `stream` is stderr unless given.

    `auto` is pretty where the stream is a terminal. `secrets` are masked wherever they appear, beside what looks like
    a key by itself. May be called again; the last call counts.
    """
    stream = sys.stderr if stream is None else stream
    sink = LineSink(stream)
    pretty = format == "pretty" or (format == "auto" and stream.isatty())
    structlog.configure(
        processors=[*_shared_processors(tuple(secrets)), *(_pretty(stream) if pretty else _as_json())],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    _forward_library_warnings()
    return sink


def run_logger(run: str) -> FilteringBoundLogger:
    """A logger whose every line names the run."""
    logger: FilteringBoundLogger = structlog.get_logger().bind(run=run)
    return logger


class _SinkLogger:
    """The end of structlog's chain: a rendered line goes to the sink, whatever its level."""

    __slots__ = ("_sink",)

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink

    def msg(self, line: str) -> None:
        self._sink.write(line)

    log = debug = info = warning = error = critical = exception = msg


def _shared_processors(secrets: tuple[str, ...]) -> list[Processor]:
    """Tracebacks come before the mask, so that it sees them, and never with local variables, which hold prompts."""
    return [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _mask_with(secrets),
    ]


def _mask_with(secrets: tuple[str, ...]) -> Processor:
    def masked(value: object) -> object:
        if isinstance(value, str):
            return mask_secrets(value, secrets)
        if isinstance(value, dict):
            return {key: masked(of_key) for key, of_key in value.items()}
        if isinstance(value, list | tuple):
            return [masked(item) for item in value]
        return value

    def processor(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: masked(value) for key, value in fields.items()}

    return processor


def _pretty(stream: TextIO) -> list[Processor]:
    """Short enough for a terminal: the time of day where the person is, and not the run, which is on the screen."""
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _without_run,
        _harmless_fields,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
            pad_event_to=20,
        ),
    ]


def _without_run(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    fields.pop("run", None)
    return fields


def _harmless_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A terminal obeys what JSON would have escaped."""
    return {key: _harmless_field(key, value) for key, value in fields.items()}


def _harmless_field(key: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if key == "exception":
        return harmless(value, chars_max=_TRACEBACK_CHARS_MAX)
    return one_line(value, chars_max=_FIELD_CHARS_MAX)


def _as_json() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _leading_fields_first,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


def _leading_fields_first(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    leading = {key: fields.pop(key) for key in _LEADING_FIELDS if key in fields}
    return leading | dict(fields)


def _json(fields: Any, **_: Any) -> str:
    try:
        return orjson.dumps(fields, default=str).decode()
    except TypeError:  # a lone surrogate or an integer beyond 64 bits; the standard library writes both
        return json.dumps(fields, default=str)


class _LibraryHandler(logging.Handler):
    """Hands records of the standard library's logging to structlog, as `library_log`."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(
            level, "library_log", logger=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def _forward_library_warnings() -> None:
    """Warnings and errors of asyncio, aiohttp and the rest, and Python's own warnings, become lines like ours."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler(level=logging.WARNING))
    logging.captureWarnings(capture=True)
