"""Size: a run's memory does not grow with its rows, and a finished one is started again for next to nothing.

The same at full size, with figures: `make bench`.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.running import command, environment, grid_recipe
from tests.support.simulator import Simulator

FEW, MANY = 300, 3_000
GROWTH_MIB_MAX = 15.0
LIMITS = "[limits]\nconcurrency = 64\n[budget]\nusd = 100.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a process took."""

    seconds: float
    cpu_s: float
    max_rss_mib: float


def _run(recipe: Path, folder: str, server: Simulator) -> Used:
    """Generate, to the end."""
    args = ("run", recipe, "--run-dir", folder, "--until", "generate", "--log-level", "warning")
    started = time.perf_counter()
    process = subprocess.Popen(
        command(*args), cwd=recipe.parent, env=environment(server.base_url), stdin=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Used(
        seconds=time.perf_counter() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        max_rss_mib=usage.ru_maxrss / 1024,
    )


def test_memory_does_not_grow_with_rows_and_a_finished_run_is_started_again_at_once(tmp_path: Path) -> None:
    """Many more rows take about the memory of the few; the second start sends nothing and works far less."""
    with Simulator("--latency-s", "0") as server:
        few = _run(grid_recipe(tmp_path / "few.toml", rows=FEW, more=LIMITS), "few", server)
        many_rows = grid_recipe(tmp_path / "many.toml", rows=MANY, more=LIMITS)
        many = _run(many_rows, "many", server)
        assert server.books()["received"] == FEW + MANY
        again = _run(many_rows, "many", server)
        assert server.books()["received"] == FEW + MANY
    print(f"few {few}\nmany {many}\nagain {again}")
    assert many.max_rss_mib - few.max_rss_mib <= GROWTH_MIB_MAX
    assert again.max_rss_mib <= few.max_rss_mib
    assert again.cpu_s < many.cpu_s / 2
    assert again.cpu_s < few.cpu_s * 1.2
