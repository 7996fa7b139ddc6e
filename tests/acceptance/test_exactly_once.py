"""One fine-tuning job and one upload of each file, whatever gets lost or killed on the way."""

import json
import signal
import time
from pathlib import Path

import pytest
from tests.support.running import grid_recipe, run, started
from tests.support.simulator import Simulator

TUNE = """\
[limits]
concurrency = 16
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 3
"""
FILES = 2  # train and validation
DEADLINE_S = 60.0


def _recipe(folder: Path) -> Path:
    return grid_recipe(folder / "recipe.toml", rows=40, more=TUNE)


def _assert_one_job(folder: Path, books: dict[str, int]) -> None:
    assert books["jobs_created"] == 1, books
    assert books["uploads"] == FILES, books
    record = json.loads((folder / "r" / "finetune.json").read_text(encoding="utf-8"))
    assert record["summary"]["status"] == "succeeded"
    assert ":simulated:" in record["summary"]["model"]


def test_lost_replies_make_no_second_job(tmp_path: Path) -> None:
    """The replies to an upload and to the creation are cut after the deed: the target's lists are asked instead."""
    with Simulator("--lose-reply", "upload=1", "--lose-reply", "create=1") as server:
        ended = run("run", _recipe(tmp_path), "--run-dir", "r", base_url=server.base_url, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr[-2000:]
        _assert_one_job(tmp_path, server.books())


@pytest.mark.parametrize(
    ("deed", "counted"), [pytest.param("upload", "uploads", marks=pytest.mark.torture), ("create", "jobs_created")]
)
def test_a_kill_after_the_deed_and_before_its_reply_makes_no_second_job(
    tmp_path: Path, deed: str, counted: str
) -> None:
    """kill -9 while the reply is on its way: the next run finds what was done."""
    recipe = _recipe(tmp_path)
    with Simulator("--delay", f"{deed}=3") as server:
        with started("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path) as process:
            deadline = time.monotonic() + DEADLINE_S
            while not server.books()[counted]:
                assert process.poll() is None, "the run ended before its first deed"
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        again = run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path)
        assert again.returncode == 0, again.stderr[-2000:]
        _assert_one_job(tmp_path, server.books())


@pytest.mark.torture
def test_running_a_finished_run_again_sends_nothing(tmp_path: Path) -> None:
    """Neither completions nor files nor jobs."""
    recipe = _recipe(tmp_path)
    with Simulator() as server:
        assert run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path).returncode == 0
        before = server.books()
        again = run("run", recipe, "--run-dir", "r", base_url=server.base_url, cwd=tmp_path)
        assert again.returncode == 0, again.stderr[-2000:]
        assert server.books() == before
