"""Arguments and flags that several commands share, and how a flag's text becomes a value.

Every flag also reads an environment variable, TUNEMILL_ and its name. A value that cannot be used raises ArgumentError,
which names the flag, or the variable where the value came from there.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tunemill.errors import ArgumentError


def variable_of(flag: str, of: str = "") -> str:
    """The environment variable that a flag also reads; `of` is the command whose own it is."""
    return f"TUNEMILL_{of}{'-' if of else ''}{flag.removeprefix('--')}".replace("-", "_").upper()


def named(flag: str, of: str = "") -> str:
    """What a person calls the place that a flag's value came from: the flag, or else its variable."""
    is_given = any(argument.partition("=")[0] == flag for argument in sys.argv[1:])
    return flag if is_given else variable_of(flag, of)


def dollars_above_zero(flag: str, of: str = "") -> Callable[[str], float]:
    """Parses dollars."""
    return _number(flag, "give dollars above zero, such as 25", lambda value: 0 < value < math.inf, of)


def rate(flag: str, *, most: float, of: str = "") -> Callable[[str], float]:
    """Parses a number a minute."""
    return _number(flag, f"give a number above zero, at most {most:,.0f}", lambda value: 0 < value <= most, of)


def seconds(flag: str) -> Callable[[str], float]:
    """Parses a time to wait."""
    return _number(flag, "give seconds, such as 30, or 0 not to wait", lambda value: 0 <= value < math.inf)


def count(flag: str, of: str = "", *, most: int | None = None) -> Callable[[str], int]:
    """Parses a whole number from 1, up to `most` where there is a limit."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = 0
        if value < 1:
            raise _refused(flag, text, "is no whole number from 1", "give one, such as 10", of)
        if most is not None and value > most:
            raise _refused(flag, text, "is too many", f"give {most} or fewer", of)
        return value

    return parse


def one_of(flag: str, *allowed: str) -> Callable[[str], str]:
    """Parses one of a few words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise _refused(flag, text, "is not known", f"choose one of {', '.join(allowed)}")
        return text

    return parse


def _number(flag: str, mend: str, is_fit: Callable[[float], bool], of: str = "") -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise _refused(flag, text, "is not a number", mend, of) from None
        if not is_fit(value):
            raise _refused(flag, text, "is out of range", mend, of)
        return value

    return parse


def _refused(flag: str, text: str, problem: str, mend: str, of: str = "") -> ArgumentError:
    return ArgumentError(problem, mend=mend, key=named(flag, of), value=text)


RecipeFile: TypeAlias = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
RunName: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the name of one under runs/.")]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", envvar="TUNEMILL_JSON", help="Print JSON on stdout, for programs.")
]
Budget: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--budget",
        envvar="TUNEMILL_BUDGET",
        metavar="USD",
        parser=dollars_above_zero("--budget"),
        help="Dollars, instead of the recipe's budget.",
    ),
]
Backend: TypeAlias = Annotated[
    str,
    typer.Option(
        "--backend",
        envvar="TUNEMILL_BACKEND",
        metavar="NAME",
        parser=one_of("--backend", "llama", "simulator"),
        help="What the embedded server answers with: llama (a small real model) or simulator (invented text).",
    ),
]
