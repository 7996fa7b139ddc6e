"""How log lines are made and where they go: pretty for people, JSON or logfmt for programs, never with a key in them.

A line has `timestamp` (ISO 8601, UTC), `level`, `event`, `run` and, where it is about one, `request_id`; then the
event's own fields (docs/logs.md). Whatever looks like a key is masked in every line, whoever wrote it, and also in the
warnings of libraries, which come the same way. What cannot be written is dropped and counted: a broken pipe on stderr
must not end a run that is paid for. Knows no event.
"""

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import IO, Any, Literal, TypeAlias

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from tunemill.telemetry.logs.formats import LogFormat, format_for, renderers
from tunemill.telemetry.logs.libraries import forward_library_logs
from tunemill.telemetry.logs.sink import LineSink
from tunemill.telemetry.safe_text import mask_secrets

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(
    format: LogFormat = "auto",  # noqa: A002 - the word that the flag uses
    level: LogLevel = "info",
    *,
    stream: IO[str] | None = None,
    secrets: Iterable[str] = (),
    run: str = "",
) -> LineSink:
    """Set up structlog for the process, and the logs of libraries with it; `stream` is stderr unless given.

    `secrets` are masked wherever they appear, beside what looks like a key by itself. `run` is named in every line
    that names none, such as those of libraries. May be called again; the last call counts.
    """
    stream = sys.stderr if stream is None else stream
    sink = LineSink(stream)
    structlog.configure(
        processors=[*_shared_processors(tuple(secrets), run), *renderers(format_for(format, stream), stream)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    forward_library_logs(_LEVELS[level])
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


def _shared_processors(secrets: tuple[str, ...], run: str) -> list[Processor]:
    """Tracebacks come before the mask, so that it sees them, and never with local variables, which hold prompts."""
    return [
        structlog.processors.add_log_level,
        _of_run(run),
        structlog.processors.format_exc_info,
        _mask_with(secrets),
    ]


def _of_run(run: str) -> Processor:
    def processor(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if run:
            fields.setdefault("run", run)
        return fields

    return processor


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
