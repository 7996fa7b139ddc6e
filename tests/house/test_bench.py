"""The benchmark can be started: its parts are there, and its command explains itself. Measuring is `make bench`."""

import subprocess
import sys

import pytest
from bench.__main__ import available, part_of
from tests.house.house_support import ROOT


@pytest.mark.parametrize("name", available())
def test_each_part_says_what_it_measures(name: str) -> None:
    """A part has a title and a sentence for the report."""
    part = part_of(name)
    assert part.title
    assert part.about.endswith(".")


def test_the_command_names_every_part() -> None:
    """`python -m bench --help` works and says what can be measured."""
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert [name for name in available() if name not in shown.stdout] == []
