"""kill -9 at random moments: the run goes on, nothing is lost, and only what was in flight is paid again."""

import os
import random
from pathlib import Path

from tests.support.running import grid_recipe, kill_at_random_moments, run
from tests.support.simulator import Simulator

ROWS = int(os.environ.get("TUNEMILL_TEST_ROWS", "150"))
KILLS = 5 if ROWS >= 500 else 2
CONCURRENCY = 16
FILES = ("train.jsonl", "validation.jsonl", "rejects.jsonl")


def test_a_run_that_was_killed_makes_the_dataset_of_one_that_was_not(tmp_path: Path) -> None:
    """Byte for byte; and at most what was in flight at each kill is billed twice."""
    seed = random.randrange(10**9)
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=f"[limits]\nconcurrency = {CONCURRENCY}")
    with Simulator("--latency-s", "0.05", "--latency-sigma", "0.5") as server:
        whole = run("run", recipe, "--run-dir", "whole", base_url=server.base_url, cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        server.reset_books()
        killed = kill_at_random_moments(
            KILLS,
            random.Random(seed),
            "run",
            recipe,
            "--run-dir",
            "killed",
            base_url=server.base_url,
            cwd=tmp_path,
            journal=tmp_path / "killed" / "journal",
            growth=ROWS * 2_000 // (KILLS + 1),
        )
        last = run("run", recipe, "--run-dir", "killed", base_url=server.base_url, cwd=tmp_path)
        books = server.books()
    assert last.returncode == 0, last.stderr
    for name in FILES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), (name, seed)
    assert books["distinct_bodies_billed"] == ROWS
    assert books["billed_twice"] <= killed * CONCURRENCY, (books, killed, seed)
    print(f"killed {killed} times, {books['billed_twice']} of {ROWS} billed twice, seed {seed}")
