"""Whole runs whose requests leave from other processes: the same dataset, the same books, whatever is killed when."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.running import DEADLINE_S, grid_recipe, kill_after_growth, run, started
from tests.support.simulator import Simulator

ROWS = int(os.environ.get("TUNEMILL_TEST_ROWS", "150"))
CONCURRENCY = 16
LIMITS = f"[limits]\nconcurrency = {CONCURRENCY}"
FILES = ("train.jsonl", "validation.jsonl", "rejects.jsonl")
BESIDE = ("--processes", "2")


pytestmark = pytest.mark.timeout(300)


def children(pid: int) -> list[int]:
    """The processes that a run has started and that are there."""
    with contextlib.suppress(FileNotFoundError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    return []


def is_running(pid: int) -> bool:
    """Whether it still does something: an orphan that ended may stay a zombie where nobody collects those."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(holds: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Return when it does; the run must not end before."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "it does not get on"
        time.sleep(0.005)


def figures(server: Simulator, cwd: Path, name: str) -> dict[str, dict[str, float]]:
    read: dict[str, dict[str, float]] = json.loads(
        run("status", name, "--json", base_url=server.base_url, cwd=cwd).stdout
    )
    return read


def test_processes_that_are_killed_cost_no_row_and_no_figure(tmp_path: Path) -> None:
    """An executor process is killed in mid-run, and then the other one: the run ends as one that sends by itself does,
    with the same files. Only what was in flight there is billed twice, and is what the run calls uncertain."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=LIMITS)
    with Simulator("--latency-s", "0.3", "--latency-sigma", "0.3") as server:
        alone = run("run", recipe, "--run-dir", "alone", base_url=server.base_url, cwd=tmp_path)
        assert alone.returncode == 0, alone.stderr
        server.reset_books()
        with started("run", recipe, "--run-dir", "r", *BESIDE, base_url=server.base_url, cwd=tmp_path) as process:
            for share in (8, 4):
                until(lambda share=share: server.books()["delivered"] >= ROWS // share, process)  # type: ignore[misc]
                os.kill(children(process.pid)[0], signal.SIGKILL)
            assert process.wait(DEADLINE_S) == 0
        books, said = server.books(), figures(server, tmp_path, "r")
    for name in FILES:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "r" / name).read_bytes(), name
    assert said["requests"]["completed"] == ROWS == books["distinct_bodies_billed"]
    assert books["billed_twice"] <= 2 * CONCURRENCY
    assert said["usd"]["uncertain"] > 0
    assert said["usd"]["settled"] + said["usd"]["uncertain"] >= books["usd_billed"]


@pytest.mark.torture
def test_a_drain_awaits_what_other_processes_have_in_flight(tmp_path: Path) -> None:
    """SIGTERM to the run and to everybody whom it has started: what is in flight is answered and kept, nobody stays
    behind, and the next run pays for nothing again."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=LIMITS)
    with Simulator("--latency-s", "0.4") as server:
        with started("run", recipe, "--run-dir", "r", *BESIDE, base_url=server.base_url, cwd=tmp_path) as process:
            until(lambda: server.books()["delivered"] >= CONCURRENCY, process)
            executors = children(process.pid)
            assert len(executors) == 2
            for pid in (*executors, process.pid):
                os.kill(pid, signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 143
            assert not any(map(is_running, executors))
        books, drained = server.books(), figures(server, tmp_path, "r")
        assert drained["requests"]["completed"] == books["billed"] == books["delivered"] < ROWS
        assert drained["usd"]["uncertain"] == 0
        server.control(latency_s=0.0)
        rest = run("run", recipe, "--run-dir", "r", *BESIDE, base_url=server.base_url, cwd=tmp_path)
        assert rest.returncode == 0, rest.stderr
        assert server.books()["billed_twice"] == 0
        assert figures(server, tmp_path, "r")["requests"]["completed"] == ROWS


@pytest.mark.torture
def test_a_run_that_is_killed_takes_its_processes_along_also_with_the_embedded_server(tmp_path: Path) -> None:
    """kill -9 of the run ends the server and the executors that it has started; the next run goes on."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=LIMITS)
    words = ("run", recipe, "--run-dir", "r", "--local", "--backend", "simulator", *BESIDE)
    nowhere = "http://127.0.0.1:1/v1"
    with started(*words, base_url=nowhere, cwd=tmp_path) as process:
        until(lambda: len(children(process.pid)) == 3, process)
        beside = children(process.pid)
        if kill_after_growth(process, tmp_path / "r" / "journal", 20_000):
            deadline = time.monotonic() + DEADLINE_S
            while any(map(is_running, beside)):
                assert time.monotonic() < deadline, "somebody stays behind"
                time.sleep(0.01)
    rest = run(*words, base_url=nowhere, cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr
    read = json.loads(run("status", "r", "--json", base_url=nowhere, cwd=tmp_path).stdout)
    assert read["requests"]["completed"] == ROWS
