"""One simulator for all tests of the command line, with new books for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.cli_support import Shell
from tests.support.simulator import Simulator


@pytest.fixture(scope="session")
def one_simulator() -> Iterator[Simulator]:
    """Started once; its jobs take no time."""
    with Simulator("--job-per-retrieve") as server:
        yield server


@pytest.fixture
def simulator(one_simulator: Simulator) -> Simulator:
    """The simulator, with empty books and its first settings."""
    one_simulator.control(latency_s=0, faults={})
    one_simulator.reset_books()
    return one_simulator


@pytest.fixture
def shell(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A folder to work in."""
    return Shell(tmp_path, simulator.base_url, monkeypatch, capsys)
