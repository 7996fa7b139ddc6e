"""`/metrics` of a real run: well formed, and its counters are the simulator's books."""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.support.ports import free_port
from tests.support.running import grid_recipe, started
from tests.support.simulator import Simulator

ROWS = 120
MORE = """\
[limits]
concurrency = 16
[budget]
usd = 1000
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 3
"""
DEADLINE_S = 60.0
FAULTS = ("--fault", "server_error=0.1", "--fault", "rate_limit_bare=0.05", "--fault", "length=0.1")


def _scrape(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
            text: str = reply.read().decode()
            return text
    except OSError:  # not there yet, or too busy
        return ""


def _values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _started_flags(recipe: Path, port: int) -> tuple[str | Path, ...]:
    return ("run", recipe, "--run-dir", "r", "--until", "generate", "--listen", f"127.0.0.1:{port}")


def _sum(values: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (sample, having), value in values.items() if sample == name and wanted <= having)


def test_metrics_are_well_formed_and_equal_the_books(tmp_path: Path) -> None:
    """Scraped until everything is answered; the job that is watched afterwards holds the process while we look."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more=MORE)
    port = free_port()
    with Simulator("--latency-s", "0.05", "--job-running-s", "20", *FAULTS) as server:
        flags = ("run", recipe, "--run-dir", "r", "--listen", f"127.0.0.1:{port}")
        with started(*flags, base_url=server.base_url, cwd=tmp_path) as process:
            deadline = time.monotonic() + DEADLINE_S
            text = ""
            while not server.books()["jobs_created"]:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            text = _scrape(port)
            books = server.books()
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    values = _values(text)
    assert _sum(values, "tunemill_requests", state="completed") == ROWS == books["delivered"]
    assert _sum(values, "tunemill_attempts_total", result="completed") == books["by_status"]["200"]
    assert _sum(values, "tunemill_attempts_total", result="rate_limited") == books["by_status"].get("429", 0)
    assert _sum(values, "tunemill_attempts_total") == books["received"]
    assert _sum(values, "tunemill_tokens_total", kind="input") == books["input_tokens"]
    assert _sum(values, "tunemill_tokens_total", kind="output") == books["output_tokens"]
    assert _sum(values, "tunemill_requests_finished_total") == ROWS


def test_counters_go_on_after_kill_9(tmp_path: Path) -> None:
    """What a dashboard shows is the run, not the process: nothing falls back, and in the end all of it is in the books.

    What was in flight when the process was killed may have been billed: it is uncertain from then on.
    """
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS, more="[limits]\nconcurrency = 8\n[budget]\nusd = 1000\n")
    port = free_port()
    with Simulator("--latency-s", "0.1") as server:
        with started(*_started_flags(recipe, port), base_url=server.base_url, cwd=tmp_path) as process:
            before = _scraped_when(
                port, lambda values: _sum(values, "tunemill_requests", state="completed") >= ROWS / 4
            )
            process.kill()
            process.wait()
        server.control(paused=True)  # whatever the next process shows, it has read
        with started(*_started_flags(recipe, port), base_url=server.base_url, cwd=tmp_path, TUNEMILL_LINGER="600"):
            after = _scraped_when(port, lambda values: _sum(values, "tunemill_requests", state="in_flight") > 0)
            server.control(paused=False)
            ended = _scraped_when(port, lambda values: _sum(values, "tunemill_run_state", state="finished") == 1)
        books = server.books()
    for (name, labels), value in before.items():
        if name in {f"tunemill_{what}_total" for what in ("requests_finished", "attempts", "tokens", "cost_usd")}:
            assert after[name, labels] >= value, (name, labels)
    assert _sum(after, "tunemill_cost_usd_total", kind="uncertain") > 0
    assert _sum(after, "tunemill_attempts_total", result="interrupted") > 0
    assert _sum(ended, "tunemill_requests", state="completed") == ROWS
    assert _sum(ended, "tunemill_attempts_total", result="completed") == ROWS
    assert _sum(ended, "tunemill_attempts_total") >= books["received"]  # some were killed before they had left
    assert _sum(ended, "tunemill_cost_usd_total") >= books["usd_billed"]


def _scraped_when(
    port: int, is_so: Callable[[dict[tuple[str, frozenset[tuple[str, str]]], float]], bool]
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so(values := _values(_scrape(port))):
        assert time.monotonic() < deadline, values
        time.sleep(0.02)
    return values
