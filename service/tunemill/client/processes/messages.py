"""What the brain and an executor process say to each other, as the items of `link`.

    to the executor    first {providers}, then [number, provider, path, model, seconds, bytes of the body], or [number]
                       alone for an attempt that nobody waits for any more, or [provider, model, whether to be patient];
                       payload: the body
    to the brain       first [], then [number, reading, hints, bytes of the answer, bytes of the text], payload: both;
                       or [number, failure, hints]

Values travel as lists in the order of their fields. A text travels as bytes beside the answer that it was read from:
turning it back into a text costs next to nothing, which parsing it a second time would not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeAlias

import orjson

from tunemill.client.processes.link import Item
from tunemill.client.reach import Reach
from tunemill.model import Completion, Delivered, Failure, FailureKind, LimitHints, Reply, Request, Undelivered, Usage

NO_HINTS = LimitHints()
READY = b"[]"

Posted: TypeAlias = tuple[bytes, Sequence[bytes]]  # an item and its payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sending, as an executor process is told of it."""

    number: int
    provider: str
    path: str
    model: str
    timeout_s: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody waits any more for the attempt of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Patience:
    """Whether to wait for what is under way to a model for as long as it takes."""

    provider: str
    model: str
    is_patient: bool


# -- to the executor process -------------------------------------------------------------------------------------------


def greeting(providers: Mapping[str, Reach]) -> bytes:
    """The first item: whom there will be something to send to."""
    return orjson.dumps([[name, reach.base_url, reach.api_key, reach.connections] for name, reach in providers.items()])


def read_greeting(item: Item) -> dict[str, Reach]:
    """What `greeting` said."""
    return {
        name: Reach(base_url=base_url, api_key=api_key, connections=connections)
        for name, base_url, api_key, connections in item
    }


def attempt(number: int, provider: str, request: Request, timeout_s: float) -> Posted:
    """Send this."""
    body = request.body
    return orjson.dumps([number, provider, request.path, request.lane.model, timeout_s, len(body)]), (body,)


def cancelled(number: int) -> bytes:
    """Never mind."""
    return b"[%d]" % number


def patience(provider: str, model: str, *, is_patient: bool) -> bytes:
    """Wait for what is under way there, or no longer."""
    return orjson.dumps([provider, model, is_patient])


def read_orders(items: Sequence[Item], payload: memoryview) -> Iterator[Attempt | Cancelled | Patience]:
    """What the brain said in one frame."""
    at = 0
    for item in items:
        if len(item) == 1:
            yield Cancelled(item[0])
            continue
        if len(item) == 3:
            yield Patience(*item)
            continue
        number, provider, path, model, timeout_s, length = item
        yield Attempt(
            number=number,
            provider=provider,
            path=path,
            model=model,
            timeout_s=timeout_s,
            body=bytes(payload[at : at + length]),
        )
        at += length


# -- to the brain ------------------------------------------------------------------------------------------------------

_HINTS = tuple(each.name for each in fields(LimitHints))
_hints_of = attrgetter(*_HINTS)
_READING = tuple(each.name for each in fields(Completion) if each.name not in {"text", "usage"})
_reading_of = attrgetter(*_READING)
_USAGE = tuple(each.name for each in fields(Usage))
_usage_of = attrgetter(*_USAGE)
_FAILURE = tuple(each.name for each in fields(Failure) if each.name != "kind")
_failure_of = attrgetter(*_FAILURE)


def reply(number: int, of: Reply) -> Posted:
    """What came of the attempt of this number."""
    if isinstance(of, Undelivered):
        failure = [of.failure.kind.value, *_failure_of(of.failure)]
        return orjson.dumps([number, failure, _packed(of.hints)]), ()
    completion = of.completion
    text = completion.text.encode()
    usage = None if completion.usage is None else _usage_of(completion.usage)
    reading = [usage, *_reading_of(completion)]
    return orjson.dumps([number, reading, _packed(of.hints), len(of.body), len(text)]), (of.body, text)


def read_replies(items: Sequence[Item], payload: memoryview) -> Iterator[tuple[int, Reply]]:
    """What an executor process said in one frame: numbers of attempts, with what came of them."""
    at = 0
    for item in items:
        if len(item) == 3:
            number, (kind, *failure), hints = item
            yield number, Undelivered(failure=_failure(kind, failure), hints=_hints(hints))
            continue
        number, reading, hints, body_bytes, text_bytes = item
        text_at = at + body_bytes
        end = text_at + text_bytes
        completion = _completion(str(payload[text_at:end], "utf-8"), reading)
        yield number, Delivered(body=bytes(payload[at:text_at]), hints=_hints(hints), completion=completion)
        at = end


def _packed(hints: LimitHints) -> Sequence[Any] | None:
    return None if hints == NO_HINTS else _hints_of(hints)


def _hints(values: Sequence[Any] | None) -> LimitHints:
    return NO_HINTS if values is None else LimitHints(**dict(zip(_HINTS, values, strict=True)))


def _completion(text: str, values: Sequence[Any]) -> Completion:
    usage, *rest = values
    return Completion(
        text=text,
        usage=None if usage is None else Usage(**dict(zip(_USAGE, usage, strict=True))),
        **dict(zip(_READING, rest, strict=True)),
    )


def _failure(kind: str, values: Sequence[Any]) -> Failure:
    return Failure(kind=FailureKind(kind), **dict(zip(_FAILURE, values, strict=True)))
