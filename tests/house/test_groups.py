"""The groups of tests that go to one worker."""

from pathlib import Path

import pytest
from tests.support.groups import GROUPS, group_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("beginning", GROUPS)
def test_what_is_grouped_is_there(beginning: str) -> None:
    """A test that was given another name would leave its group without a word."""
    file, _, name = beginning.partition("::")
    assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")


def test_a_group_is_found_by_the_name_and_whatever_follows_it() -> None:
    """Parameters do not matter, and other tests are in none."""
    assert group_of("tests/local/test_local_llama.py::test_anything[1]") == "a model"
    assert group_of("tests/local/test_local_wire.py::test_anything") is None
