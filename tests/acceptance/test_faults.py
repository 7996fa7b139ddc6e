"""Every fault at once: the run ends by itself, and each row is in the dataset or named with its reason."""

import json
import os
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.running import grid_recipe, run
from tests.support.simulator import Simulator

ROWS = int(os.environ.get("TUNEMILL_TEST_ROWS", "60"))
LIMITS = "[limits]\nconcurrency = 32\ntimeout_s = 1.0\nattempts_max = 4\n"


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.mark.timeout(300)
def test_every_fault_at_five_percent_leaves_no_row_unnamed(tmp_path: Path) -> None:
    """planned = completed + failed, completed = train + validation + rejected, and the sums cover the books."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=LIMITS)
    with Simulator("--latency-s", "0.02", "--fault", "all=0.05") as server:
        ended = run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path, deadline_s=250)
        books = server.books()
    assert ended.returncode in {0, 4}, ended.stderr[-2000:]
    figures = json.loads(run("status", "r", "--json", base_url=server.base_url, cwd=tmp_path).stdout)
    counts = figures["requests"]
    kept = _lines(tmp_path / "r" / "train.jsonl") + _lines(tmp_path / "r" / "validation.jsonl")
    rejects, failed = _lines(tmp_path / "r" / "rejects.jsonl"), _lines(tmp_path / "r" / "failed.jsonl")
    assert counts["planned"] == ROWS == counts["completed"] + counts["failed"]
    assert len(kept) + len(rejects) == counts["completed"]
    assert len(failed) == counts["failed"]
    assert all(line["rule"] for line in rejects)
    assert all(line["error"] for line in failed)
    assert figures["usd"]["settled"] <= books["usd_billed"] * 1.3
    assert figures["usd"]["settled"] + figures["usd"]["uncertain"] >= books["usd_billed"]
    rules = sorted({str(line["rule"]) for line in rejects})
    print(f"{len(kept)} kept, {len(rejects)} rejected {rules}, {len(failed)} failed; {books['by_status']}")


@pytest.mark.timeout(300)
@pytest.mark.torture
def test_nobody_there_from_the_start_is_waited_for_and_said(tmp_path: Path) -> None:
    """The log says within seconds what is waited for; after outage_max_s it is exit 5 with the sentence; no row has
    failed, and the same run finishes when there is somebody."""
    limits = "[limits]\nconcurrency = 4\noutage_max_s = 6\nattempts_max = 1\n"
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=30, more=limits)
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    ended = run("run", recipe, "--run-dir", "r", base_url=nobody, cwd=tmp_path)
    assert ended.returncode == 5, ended.stderr[-2000:]
    opened = [line for line in ended.stderr.splitlines() if "circuit_opened" in line]
    assert len(opened) == 1
    assert "Connect" in opened[0]
    assert "outage_max_s = 6" in ended.stderr.splitlines()[-1]
    with Simulator() as server:
        assert run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path).returncode == 0
        assert server.books()["billed"] == 30
