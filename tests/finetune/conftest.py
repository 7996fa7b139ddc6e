"""One simulator for a whole file of tests; each test has a run, and therefore bytes, of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finetune.world_support import World, world
from tests.support.simulator import Simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A target whose jobs move on by one status at each look, so that no test waits for one."""
    with Simulator("--job-per-retrieve") as server:
        yield server


@pytest.fixture
def run_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-60:].lstrip("-")


@pytest.fixture
def here(simulator: Simulator, tmp_path: Path, run_name: str) -> World:
    """A run that was never submitted, at the simulator."""
    return world(simulator.base_url, tmp_path, run_name)
