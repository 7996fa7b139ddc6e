"""A provider that takes requests and says nothing for longer than a request's deadline, and is then back."""

import json
import time
from pathlib import Path

import pytest
from tests.support.running import DEADLINE_S, grid_recipe, run, started
from tests.support.simulator import Simulator

ROWS = 600
CONCURRENCY = 24
TIMEOUT_S = 16
SILENT_S = TIMEOUT_S + 3  # what is sent when the silence is noticed has its deadline seconds later


@pytest.mark.torture
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_silent_provider_has_taken_is_waited_for(tmp_path: Path, processes: int) -> None:
    """Its deadline passes while nobody is answered: it is not cut and sent again, since it would be paid for twice if
    it was answered later. In the end nothing is in doubt."""
    limits = f"[limits]\nconcurrency = {CONCURRENCY}\ntimeout_s = {TIMEOUT_S}\n"
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=limits)
    beside = ("--processes", str(processes), "--run-dir", "r")
    with Simulator("--latency-s", "0.2") as server:
        with started("run", recipe, *beside, base_url=server.base_url, cwd=tmp_path) as process:
            while server.books()["delivered"] < ROWS // 4:
                assert process.poll() is None, "it ended before anything happened"
                time.sleep(0.02)
            server.control(paused=True)
            time.sleep(SILENT_S)
            server.control(paused=False)
            assert process.wait(DEADLINE_S) == 0
        books = server.books()
        figures = json.loads(run("status", "r", "--json", base_url=server.base_url, cwd=tmp_path).stdout)
    assert figures["requests"]["completed"] == ROWS == books["distinct_bodies_billed"]
    assert figures["usd"]["uncertain"] == 0
    assert books["billed_twice"] == 0
