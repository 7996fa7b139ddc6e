"""The bytes of the journal's lines: one JSON object each, with a checksum at the end.

    {"kind":"sent", ... ,"crc":"1f2e3d4c"}\n

The checksum is CRC-32 over the line's bytes before `,"crc":`. `decode` is the only reader of what `encode` writes; a
line that does not check, or that says something else than the types in `lines`, is `DamagedLine`.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Marked,
    Opened,
    Repaired,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.model import FailureKind, Usage, picodollars, usd

_SUFFIX = b',"crc":"'
_COMPLETED = b'{"kind":"completed",'
_SENT = b'{"kind":"sent",'
_ANSWER = b',"answer":'
_SUFFIX_BYTES = len(_SUFFIX) + 8 + len(b'"}\n')


class DamagedLine(ValueError):
    """The bytes are not a line that tunemill wrote."""


def encode(line: Line) -> bytes:
    """The line's bytes, with checksum and newline."""
    text = orjson.dumps(_ENCODERS[type(line)](line))
    # A raw answer may be pretty-printed. In JSON a line break can only stand between values, so that this changes none:
    # parsing it would round long numbers.
    text = text.replace(b"\n", b" ")
    return b'%b,"crc":"%08x"}\n' % (text[:-1], zlib.crc32(text[:-1]))


def decode(text: bytes) -> Line:
    """Parse one line, newline included, without its payload (`body`, `answer`). Raises DamagedLine."""
    end = _checked_end(text)
    try:
        record = orjson.loads(text[: _payload_at(text, end)] + b"}")
        return _DECODERS[record["kind"]](record)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedLine(f"a line of an unknown form ({type(error).__name__}: {error})") from error


def decode_whole(text: bytes) -> dict[str, Any]:
    """The line as a plain object with its payload. Raises DamagedLine."""
    end = _checked_end(text)
    return _parsed(text[:end] + b"}")


def decode_answer(text: bytes) -> dict[str, Any]:
    """The raw answer of a completed line, and nothing else of it. Raises DamagedLine."""
    end = _checked_end(text)
    at = text.find(_ANSWER, 0, end) if text.startswith(_COMPLETED) else -1
    if at < 0:
        raise DamagedLine("an answer should stand here")
    return _parsed(text[at + len(_ANSWER) : end])


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        record: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DamagedLine(f"no JSON ({error})") from error
    return record


def _payload_at(text: bytes, end: int) -> int:
    """Where the payload begins (`end` where there is none): it comes last in its line, and is most of what there is to
    parse. What stands before it in these two kinds is ours, and quotes inside strings are escaped, so that the first
    such bytes are the key itself. Other kinds hold foreign objects (a row's fields) that may have such a key."""
    key = _ANSWER if text.startswith(_COMPLETED) else b',"body":' if text.startswith(_SENT) else None
    found = -1 if key is None else text.find(key, 0, end)
    return found if found >= 0 else end


def _checked_end(text: bytes) -> int:
    """Where the checksum begins, after it was found right."""
    end = len(text) - _SUFFIX_BYTES
    if end >= 2 and text[end:] == b',"crc":"%08x"}\n' % zlib.crc32(memoryview(text)[:end]):
        return end
    if end < 2 or text[end : end + len(_SUFFIX)] != _SUFFIX or not text.endswith(b'"}\n'):
        raise DamagedLine("no checksum at its end")
    raise DamagedLine("its checksum does not fit")


def _tokens(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {
        "input": usage.input,
        "cached_input": usage.cached_input,
        "output": usage.output,
        "reasoning": usage.reasoning,
    }


def _place(line: Sent | Completed | AttemptFailed | Failed) -> dict[str, Any]:
    return {
        "at": round(line.at, 3),
        "request_id": line.request,
        "row": line.row,
        "step": line.step,
        "sample": line.sample,
        "attempt": line.attempt,
    }


def _encode_sent(line: Sent) -> dict[str, Any]:
    record = {"kind": "sent", **_place(line), "reserved_usd": usd(line.reserved), "path": line.path}
    if line.parent:
        record["parent"] = line.parent
    if line.body is not None:
        record["body"] = line.body
    return record


def _encode_completed(line: Completed) -> dict[str, Any]:
    return {
        "kind": "completed",
        **_place(line),
        "usd": usd(line.cost),
        "outcome": line.outcome,
        "tokens": _tokens(line.usage),
        "duration_s": round(line.duration_s, 4),
        "provider_request_id": line.provider_request_id,
        "answer": line.answer,
    }


def _encode_failure(kind: str, line: AttemptFailed | Failed) -> dict[str, Any]:
    return {
        "kind": kind,
        **_place(line),
        "failure": line.failure.value,
        "status": line.status,
        "message": line.message,
        "uncertain_usd": usd(line.uncertain),
    }


def _encode_row(line: RowSeen) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": "row", "position": line.position, "row": line.row}
    if line.fields is not None:
        record["fields"] = line.fields
    return record


_ENCODERS: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    Opened: lambda line: {
        "kind": "opened",
        "at": round(line.at, 3),
        "run": line.run,
        "version": line.version,
        "rows": line.rows,
        "places": line.places,
        "simulated": line.simulated,
        "inputs": line.inputs,
    },
    RowSeen: _encode_row,
    SourceEnded: lambda line: {"kind": "source", "rows": line.rows},
    Sent: _encode_sent,
    Completed: _encode_completed,
    AttemptFailed: lambda line: _encode_failure("attempt_failed", line),
    Failed: lambda line: _encode_failure("failed", line),
    Reused: lambda line: {
        "kind": "reused",
        "row": line.row,
        "step": line.step,
        "sample": line.sample,
        "request_id": line.request,
        **({"parent": line.parent} if line.parent else {}),
    },
    Ended: lambda line: {
        "kind": "ended",
        "at": round(line.at, 3),
        "state": line.state,
        "reason": line.reason,
        "inputs": line.inputs,
        "rows": line.rows,
    },
    Marked: lambda line: {"kind": "marked", "inputs": line.inputs, "walk": line.walk, "lines": line.lines},
    Repaired: lambda line: {
        "kind": "repaired",
        "at": round(line.at, 3),
        "uncertain_usd": usd(line.uncertain),
        "pieces": line.pieces,
    },
}


def _decode_sent(record: dict[str, Any]) -> Sent:
    return Sent(
        at=record["at"],
        request=record["request_id"],
        row=record["row"],
        step=record["step"],
        sample=record["sample"],
        attempt=record["attempt"],
        reserved=picodollars(record["reserved_usd"]),
        path=record["path"],
        body=None,
        parent=record.get("parent", ""),
    )


def _decode_completed(record: dict[str, Any]) -> Completed:
    tokens = record["tokens"]
    return Completed(
        at=record["at"],
        request=record["request_id"],
        row=record["row"],
        step=record["step"],
        sample=record["sample"],
        attempt=record["attempt"],
        cost=picodollars(record["usd"]),
        outcome=record["outcome"],
        usage=None if tokens is None else Usage(**tokens),
        duration_s=record["duration_s"],
        provider_request_id=record["provider_request_id"],
        answer=None,
    )


def _failure_fields(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": record["at"],
        "request": record["request_id"],
        "row": record["row"],
        "step": record["step"],
        "sample": record["sample"],
        "attempt": record["attempt"],
        "failure": FailureKind(record["failure"]),
        "status": record["status"],
        "message": record["message"],
        "uncertain": picodollars(record["uncertain_usd"]),
    }


_DECODERS: Mapping[str, Callable[[dict[str, Any]], Line]] = {
    "opened": lambda r: Opened(
        at=r["at"],
        run=r["run"],
        version=r["version"],
        rows=r["rows"],
        places=r["places"],
        simulated=r["simulated"],
        inputs=r.get("inputs", ""),
    ),
    "row": lambda r: RowSeen(position=r["position"], row=r["row"], fields=r.get("fields")),
    "source": lambda r: SourceEnded(rows=r["rows"]),
    "sent": _decode_sent,
    "completed": _decode_completed,
    "attempt_failed": lambda r: AttemptFailed(**_failure_fields(r)),
    "failed": lambda r: Failed(**_failure_fields(r)),
    "reused": lambda r: Reused(
        row=r["row"], step=r["step"], sample=r["sample"], request=r["request_id"], parent=r.get("parent", "")
    ),
    "ended": lambda r: Ended(
        at=r["at"], state=r["state"], reason=r["reason"], inputs=r.get("inputs", ""), rows=r.get("rows", 0)
    ),
    "marked": lambda r: Marked(inputs=r["inputs"], walk=r["walk"], lines=r["lines"]),
    "repaired": lambda r: Repaired(at=r["at"], uncertain=picodollars(r["uncertain_usd"]), pieces=r["pieces"]),
}
