"""How a log line is written: JSON, logfmt, or for people. The same fields in each, and one line stays one line.

Nothing is written that a terminal would obey or that a program would take for the end of a line, whoever put it there:
log files are looked at with `cat` and `less`.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from typing import IO, Any, Literal, TypeAlias

import orjson
import structlog
from structlog.typing import Processor

from tunemill.telemetry.safe_text import harmless, one_line

LogFormat: TypeAlias = Literal["auto", "pretty", "json", "logfmt"]

_FIELD_CHARS_MAX = 5_000
_TRACEBACK_CHARS_MAX = 50_000
_LEADING_FIELDS = ("timestamp", "level", "event", "run", "request_id")


def format_for(wanted: LogFormat, stream: IO[str]) -> LogFormat:
    """`auto` made out: words on a terminal and where a continuous integration (CI) shows them, else JSON."""
    if wanted != "auto":
        return wanted
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")
    return "pretty" if is_ci or stream.isatty() else "json"


def renderers(format: LogFormat, stream: IO[str]) -> list[Processor]:  # noqa: A002 - the word that the flag uses
    """What makes a line of an event's fields, from the timestamp to the text."""
    match format:
        case "pretty":
            return _pretty(stream)
        case "logfmt":
            return [_timestamp_utc(), _leading_fields_first, _harmless_fields, _flat, _logfmt()]
        case _:
            return [
                _timestamp_utc(),
                _leading_fields_first,
                _harmless_fields,
                structlog.processors.JSONRenderer(serializer=_json),
            ]


def has_colours(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that shows colours, and nobody minds."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def _pretty(stream: IO[str]) -> list[Processor]:
    """On a terminal the time of day where the person is, and not the run, which is on the screen."""
    is_screen = stream.isatty()
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_screen else "%Y-%m-%d %H:%M:%S", utc=False),
        *([_without_run] if is_screen else []),
        _harmless_fields,
        _flat,
        _without_nothing,
        structlog.dev.ConsoleRenderer(
            colors=has_colours(stream),
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
            pad_event_to=20,
        ),
    ]


def _timestamp_utc() -> Processor:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _without_run(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    fields.pop("run", None)
    return fields


def _leading_fields_first(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    leading = {key: fields.pop(key) for key in _LEADING_FIELDS if key in fields}
    return leading | dict(fields)


def _harmless_fields(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _harmless_field(key, value) for key, value in fields.items()}


def _harmless_field(key: str, value: object) -> object:
    """Texts on one line, but for a traceback, whose line breaks JSON and logfmt escape and a person wants."""
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and len(value) <= _FIELD_CHARS_MAX:  # nearly all
            return value
        is_traceback = key == "exception"
        return harmless(value, chars_max=_TRACEBACK_CHARS_MAX) if is_traceback else _on_one_line(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {of_key: _harmless_field("", of_value) for of_key, of_value in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless_field("", item) for item in value]
    return _on_one_line(str(value))


def _on_one_line(text: str) -> str:
    return one_line(text, chars_max=_FIELD_CHARS_MAX)


def _json(fields: Any, **_: Any) -> str:
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # an integer beyond 64 bits; the standard library writes it
        return json.dumps(fields)


def _logfmt() -> Processor:
    return structlog.processors.LogfmtRenderer(bool_as_flag=False)


def _flat(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`usd.settled=0.41`: logfmt knows no fields within fields, and a person reads them better so."""
    return dict(_flattened("", fields))


def _without_nothing(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A person does not miss what is not there, nor the zeros among many figures."""
    return {key: value for key, value in fields.items() if value is not None and (value or "." not in key)}


def _flattened(at: str, fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in fields.items():
        name = "_".join(f"{at}{key}".split())
        if isinstance(value, Mapping):
            flat += _flattened(f"{name}.", value)
        elif isinstance(value, list):
            flat.append((name, _json(value)))
        else:
            flat.append((name, value))
    return flat
