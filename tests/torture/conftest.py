"""For the tests that strike at whole runs."""

from collections.abc import Iterator

import pytest
from tests.support.simulator import Simulator
from tests.torture.whole_run import Bench, Nursery


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A place for many runs, with the uninterrupted one done."""
    with Simulator("--job-per-retrieve") as simulator, Nursery() as nursery:
        bench = Bench(tmp_path_factory.mktemp("runs"), simulator, nursery)
        bench.run_whole()
        yield bench
