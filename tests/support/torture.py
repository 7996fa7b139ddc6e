"""What the tests share that draw their cases from a seed: one seed a session, how to repeat a failure, and figures.

The seed is `TUNEMILL_TORTURE_SEED`. Where it is not given, `make torture` takes another one each time, from the clock,
and everything else takes a fixed one, so that `make test` says the same of the same code.
"""

import json
import os
import time

import pytest

VARIABLE = "TUNEMILL_TORTURE_SEED"
FIXED_SEED = 20261121
MARKER = "torture"
_FIGURES = "figures"


def choose_seed(marker_expression: str) -> None:
    """Settle the session's seed, before there are worker processes, which inherit it."""
    by_default = int(time.time()) if marker_expression == MARKER else FIXED_SEED
    os.environ.setdefault(VARIABLE, str(by_default))


def seed() -> int:
    """The session's seed."""
    return int(os.environ[VARIABLE])


def seeds(few: int, many: int) -> list[object]:
    """For `parametrize`: the first `few` always, the others up to `many` only under torture."""
    return [*range(few), *(pytest.param(seed, marks=getattr(pytest.mark, MARKER)) for seed in range(few, many))]


def how_to_repeat(node: str) -> str:
    """The command that runs this test again with the same seed."""
    return f"{VARIABLE}={seed()} .venv/bin/python -m pytest -m '' '{node}'"


class Figures:
    """What a test measured, printed as one line of JSON when the session is over, wherever the test ran."""

    def __init__(self, node: str, properties: list[tuple[str, object]]) -> None:
        self._node = node
        self._properties = properties

    def say(self, **figures: object) -> None:
        """Measured: names and values that JSON knows."""
        self._properties.append((_FIGURES, json.dumps({"test": self._node, "seed": seed(), **figures})))


def figures_of(reports: list[pytest.TestReport]) -> list[str]:
    """The lines of every test that measured something."""
    return [
        str(line)
        for report in reports
        if report.when == "call"
        for name, line in report.user_properties
        if name == _FIGURES
    ]
