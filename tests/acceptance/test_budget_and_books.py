"""The budget holds against the provider's own books, through faults and kill -9."""

import json
import os
import random
from pathlib import Path

import pytest
from tests.support.running import grid_recipe, kill_at_random_moments, run
from tests.support.simulator import Simulator

ROWS = int(os.environ.get("TUNEMILL_TEST_ROWS", "150"))
# What is in flight at a kill stays counted at its worst case. Of a small run that is a larger part.
KILLS = 3 if ROWS >= 500 else 1
USED_MIN = 0.85 if ROWS >= 500 else 0.7
LIMITS = f"[limits]\nconcurrency = {max(4, ROWS // 60)}\ntimeout_s = 1.0\nattempts_max = 20\n"


@pytest.mark.timeout(300)
def test_a_budget_for_two_fifths_is_used_and_never_exceeded(tmp_path: Path) -> None:
    """10 % faults of every kind and kill -9: the books stay below the budget, most of it is used, exit 3; with a
    larger budget the run finishes."""
    seed = random.randrange(10**9)
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, max_tokens=200, more=LIMITS)
    with Simulator("--latency-s", "0.02", "--output-tokens", "150") as clean:
        assert run("run", recipe, "--run-dir", "whole", base_url=clean.base_url, cwd=tmp_path).returncode == 0
        budget = 0.4 * clean.books()["usd_billed"]
    flags = ("run", recipe, "--run-dir", "capped", "--budget", f"{budget:.6f}")
    with Simulator("--latency-s", "0.02", "--output-tokens", "150", "--fault", "all=0.008") as server:
        killed = kill_at_random_moments(
            KILLS,
            random.Random(seed),
            *flags,
            base_url=server.base_url,
            cwd=tmp_path,
            journal=tmp_path / "capped" / "journal",
            growth=ROWS * 2_500 // (3 * KILLS + 1),
        )
        last = run(*flags, base_url=server.base_url, cwd=tmp_path, deadline_s=200)
        billed = server.books()["usd_billed"]
        assert last.returncode == 3, (last.stderr[-2000:], seed)
        figures = _status(tmp_path, server.base_url)["usd"]
        print(
            f"killed {killed} times; budget ${budget:.4f}, billed ${billed:.4f} ({billed / budget:.1%}), "
            f"settled + uncertain {(figures['settled'] + figures['uncertain']) / budget:.1%}, seed {seed}"
        )
        assert billed <= budget, (billed, budget, seed)
        assert figures["settled"] + figures["uncertain"] <= budget
        assert billed >= USED_MIN * budget, (billed, budget, figures, seed)
        raised = run(
            "run",
            recipe,
            "--run-dir",
            "capped",
            "--budget",
            f"{budget * 10:.6f}",
            base_url=server.base_url,
            cwd=tmp_path,
            deadline_s=200,
        )
        assert raised.returncode in {0, 4}, (raised.stderr[-2000:], seed)
    counts = _status(tmp_path, "http://127.0.0.1:9/v1")["requests"]
    assert counts["completed"] + counts["failed"] == counts["planned"] == ROWS


def _status(folder: Path, base_url: str) -> dict[str, dict[str, float]]:
    said = run("status", "capped", "--json", base_url=base_url, cwd=folder)
    assert said.returncode == 0, said.stderr
    figures: dict[str, dict[str, float]] = json.loads(said.stdout)
    return figures
