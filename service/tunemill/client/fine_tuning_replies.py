"""Parses the target's JSON into values, forgiving what targets leave out and refusing what makes no sense.

A reply that is not what was asked for (no JSON, no id, an error inside a 200) raises `BadReply`. Fields that are
missing or of a strange type count as not said.
"""

import hashlib
from collections.abc import Iterable, Mapping, Set
from datetime import date

import orjson

from tunemill.client.fine_tuning_values import CheckpointInfo, FileInfo, JobError, JobEvent, JobInfo, ModelInfo
from tunemill.model import Json, JsonObject


class BadReply(Exception):
    """The body is not what was asked for. The message says in what way."""


def object_of(body: bytes) -> JsonObject:
    """A body that has to be one JSON object, and no error."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadReply(f"a body that is not JSON, beginning {body[:40]!r}") from None
    if not isinstance(parsed, dict):
        raise BadReply("a body that is not a JSON object")
    if isinstance(parsed.get("error"), dict) and "id" not in parsed and "data" not in parsed:
        raise BadReply("an error where an answer should be")
    return parsed


def items_of(page: JsonObject) -> list[JsonObject]:
    """The objects of one page of a list."""
    data = page.get("data")
    if not isinstance(data, list):
        raise BadReply("a list without its data")
    return [item for item in data if isinstance(item, dict)]


def with_ids(items: Iterable[JsonObject]) -> list[JsonObject]:
    """The objects that can be spoken of at all."""
    return [item for item in items if _text(item.get("id"))]


def identity_of(raw: JsonObject) -> str:
    """The id, or for an object that has none a hash of its content."""
    return _text(raw.get("id")) or "content-" + hashlib.sha256(_canonical(raw)).hexdigest()[:32]


def reaches(known: Set[str], page: list[JsonObject]) -> bool:
    """Whether a page, newest first, ends in something known: whatever is behind it is older still."""
    if not page or identity_of(page[-1]) not in known:
        return False
    return _number(page[0].get("created_at")) > _number(page[-1].get("created_at"))


def model_of(raw: JsonObject) -> ModelInfo:
    """A listed model."""
    return ModelInfo(id=_id(raw), shutdown_date=_date(raw.get("shutdown_date")))


def file_of(raw: JsonObject) -> FileInfo:
    """An uploaded file."""
    return FileInfo(
        id=_id(raw),
        name=_text(raw.get("filename")),
        size=_whole(raw.get("bytes")),
        created_at=_number(raw.get("created_at")),
        status=_text(raw.get("status")),
    )


def job_of(raw: JsonObject) -> JobInfo:
    """A fine-tuning job."""
    result_files = raw.get("result_files")
    return JobInfo(
        id=_id(raw),
        status=_text(raw.get("status")),
        model=_text(raw.get("model")),
        training_file=_text(raw.get("training_file")),
        created_at=_number(raw.get("created_at")),
        metadata={key: text for key, text in _mapping(raw.get("metadata")).items() if isinstance(text, str)},
        fine_tuned_model=_text(raw.get("fine_tuned_model")) or None,
        trained_tokens=_whole(raw.get("trained_tokens")),
        result_files=tuple(_result_file_ids(result_files if isinstance(result_files, list) else [])),
        error=_error(_mapping(raw.get("error"))),
    )


def event_of(raw: JsonObject) -> JobEvent:
    """An event. One without an id gets one from its content, so that it is recognised when it is served again."""
    return JobEvent(
        id=identity_of(raw),
        created_at=_number(raw.get("created_at")),
        level=_text(raw.get("level")) or "info",
        message=_text(raw.get("message")),
        data=_mapping(raw.get("data")),
        served=raw,
    )


def checkpoint_of(raw: JsonObject) -> CheckpointInfo:
    """A checkpoint."""
    return CheckpointInfo(step=_whole(raw.get("step_number")) or 0, model=_text(raw.get("fine_tuned_model_checkpoint")))


def oldest_first(events: list[JobEvent]) -> tuple[JobEvent, ...]:
    """Events in the order in which they happened. Targets serve the newest first, within one second too."""
    is_oldest_first = bool(events) and events[0].created_at < events[-1].created_at
    return tuple(sorted(events if is_oldest_first else reversed(events), key=lambda event: event.created_at))


def _result_file_ids(items: Iterable[Json]) -> Iterable[str]:
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict) and _text(item.get("id")):
            yield _text(item.get("id"))


def _error(raw: JsonObject) -> JobError | None:
    # A job that is well has either no error or an object whose fields are all null.
    code, message = _text(raw.get("code")), _text(raw.get("message"))
    if not code and not message:
        return None
    return JobError(code=code, message=message or code, param=_text(raw.get("param")))


def _canonical(raw: JsonObject) -> bytes:
    return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)


def _id(raw: JsonObject) -> str:
    identifier = _text(raw.get("id"))
    if not identifier:
        raise BadReply("an object without an id")
    return identifier


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _whole(value: Json) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _date(value: Json) -> date | None:
    # An ISO date, or one with a time behind it.
    try:
        return date.fromisoformat(_text(value)[:10])
    except ValueError:
        return None
