"""Arguments and flags that several commands share, and how a flag's text becomes a value.

Every flag also reads an environment variable, TUNEMILL_ and its name. A value that cannot be used raises ArgumentError,
which names the flag, or the variable where the value came from there.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from tunemill.errors import ArgumentError


def variable_of(flag: str, of: str = "") -> str:
    """The environment variable that a flag also reads; `of` is the command whose own it is."""
    return f"TUNEMILL_{of}{'-' if of else ''}{flag.removeprefix('--')}".replace("-", "_").upper()


def named(flag: str, of: str = "") -> str:
    """What a person calls the place that a flag's value came from: the flag, or else its variable."""
    is_given = any(argument.partition("=")[0] == flag for argument in sys.argv[1:])
    return flag if is_given else variable_of(flag, of)


class Unusable(Exception):
    """A flag's text is no value for it. Becomes an ArgumentError, which names the flag."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem, mend)
        self.problem = problem
        self.mend = mend


def flag(
    name: str, says: str, *, metavar: str | None = None, reads: Callable[[str], Any] | None = None, of: str = ""
) -> Any:
    """A flag with its environment variable. `says` is its help; `reads` makes a value of its text, or raises Unusable;
    `of` is the command whose own the variable is."""
    parser = None if reads is None else _parser(name, reads, of)
    return typer.Option(name, envvar=variable_of(name, of), metavar=metavar, parser=parser, help=says)


def _parser(name: str, reads: Callable[[str], Any], of: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return reads(text)
        except Unusable as error:
            raise ArgumentError(error.problem, mend=error.mend, key=named(name, of), value=text) from None

    return parse


def dollars_above_zero(text: str) -> float:
    """Dollars. Raises Unusable."""
    return _number(text, "give dollars above zero, such as 25", lambda value: 0 < value < math.inf)


def rate(most: float) -> Callable[[str], float]:
    """A number a minute."""
    return lambda text: _number(text, f"give a number above zero, at most {most:,.0f}", lambda value: 0 < value <= most)


def seconds(text: str) -> float:
    """A time to wait. Raises Unusable."""
    return _number(text, "give seconds, such as 30, or 0 not to wait", lambda value: 0 <= value < math.inf)


def count(most: int | None = None) -> Callable[[str], int]:
    """A whole number from 1, up to `most` where there is a limit."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = 0
        if value < 1:
            raise Unusable("is no whole number from 1", "give one, such as 10")
        if most is not None and value > most:
            raise Unusable("is too many", f"give {most} or fewer")
        return value

    return read


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise Unusable("is not known", f"choose one of {', '.join(allowed)}")
        return text

    return read


def _number(text: str, mend: str, is_fit: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Unusable("is not a number", mend) from None
    if not is_fit(value):
        raise Unusable("is out of range", mend)
    return value


RecipeFile: TypeAlias = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
RunName: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the name of one under runs/.")]
AsJson: TypeAlias = Annotated[bool, flag("--json", "Print JSON on stdout, for programs.")]
Budget: TypeAlias = Annotated[
    float | None,
    flag("--budget", "Dollars, instead of the recipe's budget.", metavar="USD", reads=dollars_above_zero),
]
Backend: TypeAlias = Annotated[
    str,
    flag(
        "--backend",
        "What the embedded server answers with: llama (a small real model) or simulator (invented text).",
        metavar="NAME",
        reads=one_of("llama", "simulator"),
    ),
]
