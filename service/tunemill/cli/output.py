"""How things are printed: JSON for programs on stdout, words for people."""

import sys
from collections.abc import Mapping
from typing import Any

import orjson
from rich.console import Console

from tunemill.errors import ArgumentError
from tunemill.telemetry import make_console


def print_json(value: Mapping[str, Any], *, indented: bool = True) -> None:
    """One JSON object on stdout."""
    option = orjson.OPT_INDENT_2 if indented else 0
    sys.stdout.write(orjson.dumps(value, option=option).decode() + "\n")


def talk(line: str) -> None:
    """A sentence for the person, on stderr."""
    sys.stderr.write(line + "\n")


def page() -> Console:
    """A console on stdout, which interprets no markup."""
    return make_console(sys.stdout)


def one_of(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value, if it is one of these. Raises ArgumentError."""
    if value not in allowed:
        raise ArgumentError("not known", mend=f"choose one of {', '.join(allowed)}", key=flag, value=value)
    return value


def positive(flag: str, value: float | None) -> None:
    """Raises ArgumentError for zero, negative and infinite values."""
    if value is not None and not 0 < value < float("inf"):
        raise ArgumentError("has to be above zero", mend="give a positive number", key=flag, value=value)
