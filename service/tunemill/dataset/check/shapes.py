"""Faults that every format shares: missing and unknown keys, and values of the wrong type. Pure."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.model import Json, JsonObject


def kind_of(value: Json) -> str:
    """A value's type in the words of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def key_faults(value: JsonObject, at: str, *, required: Sequence[str], allowed: Collection[str]) -> Iterator[Fault]:
    """Keys that are missing and keys that nobody knows, with the nearest known one."""
    for key in required:
        if key not in value:
            yield fault(FaultKind.MISSING_KEY, joined(at, key), "is missing", mend=f"add {key!r}")
    for key in value:
        if key not in allowed:
            yield fault(
                FaultKind.UNKNOWN_KEY, joined(at, _short(key)), "is not a known key", mend=_nearest(key, allowed)
            )


def text_faults(value: Json, at: str, *, may_be_empty: bool = False) -> Iterator[Fault]:
    """A value that must be a string, and usually one with something in it."""
    if not isinstance(value, str):
        yield fault(FaultKind.WRONG_TYPE, at, f"is {kind_of(value)}", mend="write a string")
    elif not may_be_empty and not value.strip():
        yield fault(FaultKind.EMPTY_TEXT, at, "is empty")


def joined(at: str, key: str) -> str:
    """A field's path."""
    return f"{at}.{key}" if at else key


def _nearest(key: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    return (
        f"did you mean {near[0]!r}? Otherwise remove it"
        if near
        else f"remove it; known here: {', '.join(sorted(allowed))}"
    )


def _short(key: str) -> str:
    return key if len(key) <= 40 else key[:39] + "…"
