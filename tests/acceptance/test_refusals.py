"""What dooms every request stops the run at once, with one message and no storm, and the run can be taken up again."""

import json
from pathlib import Path

import pytest
from tests.support.running import KEY, grid_recipe, run
from tests.support.simulator import Simulator

CONCURRENCY = 8


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--api-key", "another-key"), "invalid_api_key"),
        pytest.param(("--quota-usd", "0.000000001"), "insufficient_quota", marks=pytest.mark.torture),
        pytest.param(("--models", "some-other-model"), "model_not_found", marks=pytest.mark.torture),
    ],
)
def test_a_refusal_ends_the_run(tmp_path: Path, flags: tuple[str, ...], word: str) -> None:
    """Exit 5, one message that names the cause and not the key, no more requests than were in flight."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=300, more=f"[limits]\nconcurrency = {CONCURRENCY}")
    with Simulator("--latency-s", "0.02", *flags) as server:
        ended = run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path, deadline_s=30)
        books = server.books()
    assert ended.returncode == 5, ended.stderr[-2000:]
    said = [line for line in ended.stderr.splitlines() if line.startswith("tunemill: ")]
    assert len(said) == 1, ended.stderr
    assert word in said[0]
    assert KEY not in ended.stderr
    assert books["received"] <= 2 * CONCURRENCY, books
    with Simulator("--latency-s", "0.01") as server:
        again = run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path)
        assert again.returncode == 0, again.stderr[-2000:]
        status = run("status", "r", "--json", base_url=server.base_url, cwd=tmp_path)
    assert json.loads(status.stdout)["requests"]["completed"] == 300
