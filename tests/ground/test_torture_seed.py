"""The seed of what is drawn by chance: settled once, said with every failure, and repeatable."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAILING = """\
import random
import pytest

@pytest.mark.torture
def test_that_fails(torture_seed, figures):
    figures.say(drawn=random.Random(torture_seed).random())
    assert not torture_seed
"""


def _tortured(folder: Path, **more: str) -> str:
    """What pytest says of a failing test with the project's own settings."""
    test = folder / "test_made_up.py"
    test.write_text(FAILING, encoding="utf-8")
    (folder / "conftest.py").write_text("from tests.conftest import *  # noqa: F403", encoding="utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("TUNEMILL_", "PYTEST_"))} | more
    options = ["-c", "pyproject.toml", "-m", "torture", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, str(test)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1, done
    return done.stdout + done.stderr


def test_a_failure_says_its_seed_and_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    """The command that repeats it is printed, the default seed is the clock's, and figures are lines of JSON."""
    first = _tortured(tmp_path)
    seed = re.findall(r"TUNEMILL_TORTURE_SEED=(\d+) .*pytest -m ''.*test_that_fails", first)
    assert len(seed) == 1, first
    drawn = re.findall(r'"drawn": (0\.\d+)', first)
    assert re.findall(r'"drawn": (0\.\d+)', _tortured(tmp_path, TUNEMILL_TORTURE_SEED=seed[0])) == drawn
