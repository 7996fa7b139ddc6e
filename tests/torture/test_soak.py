"""A soak: full rate against a server that fails in every way, for minutes or for an hour (`make torture SOAK=3600`).

What must not grow is looked at all the while: memory, open files, tasks, threads, handles of the journal. At the end
the server's books and the journal say the same.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.support.running import environment, grid_recipe
from tests.support.simulator import Simulator
from tests.support.torture import Figures

from tunemill.journal import open_for_reading

SECONDS = float(os.environ.get("TUNEMILL_SOAK_S", "180"))
LOOKS = 90
WARM_UP = 1 / 3  # of the looks: caches fill and pools grow in the beginning
CONCURRENCY = 64
FILES_BESIDE = 16
# What lives is counted, block by block. What is resident holds also what is free and scattered, and an allocator keeps.
BLOCKS_AN_ANSWER_MAX = 0.01  # nothing at all is kept for ninety-nine answers of a hundred
BLOCKS_NOISE = 15_000  # what is in flight, and what waits for the index, at the moment of the look
BYTES_AN_ANSWER_MAX = 16.0  # less than one small object kept for each answer
NOISE_BYTES = 16 * 1024 * 1024
RSS_BYTES_MAX = 200_000_000
FAULTS = (
    "rate_limit_bare=0.0001",  # few: each is a reason to go slower
    "server_error=0.02",
    "html_error=0.01",
    "hang=0.0005",
    "cut_before=0.01",
    "cut_after=0.01",
    "truncated_body=0.01",
    "refusal=0.01",
    "length=0.01",
    "content_filter=0.01",
)
GIVEN_UP = ("timeout", "interrupted")
MORE = f"[limits]\nrequests_per_minute = 120_000\nconcurrency = {CONCURRENCY}\ntimeout_s = 5\nattempts_max = 20\n"

Look = Mapping[str, float]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between any two points (Theil and Sen), which a few outliers do not move."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)


def soaked(recipe: Path, run_dir: Path, server: Simulator) -> tuple[list[Look], dict[str, Any]]:
    """What a child saw of itself, and how it ended."""
    command = [sys.executable, "-m", "tests.torture.soak_child", str(recipe), str(run_dir)]
    done = subprocess.run(
        [*command, str(SECONDS), str(SECONDS / LOOKS)],
        cwd=Path(__file__).parents[2],
        env=environment(server.base_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=SECONDS * 2 + 300,
    )
    *looks, end = map(json.loads, done.stdout.splitlines())
    return looks, end


@pytest.mark.torture
@pytest.mark.timeout(SECONDS * 3 + 600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what a process holds is read from /proc")
def test_nothing_grows_and_the_books_are_equal(tmp_path: Path, torture_seed: int, figures: Figures) -> None:
    """Memory, files, tasks and threads are flat over the answers given; what came in time is in both books, once."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=20_000, max_tokens=60, more=MORE)
    text = recipe.read_text(encoding="utf-8").replace("[steps.params]", "samples = 1000\n[steps.params]")
    recipe.write_text(text, encoding="utf-8")
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    with Simulator("--seed", str(torture_seed), "--output-tokens", "20", *faults) as server:
        looks, end = soaked(recipe, tmp_path / "r", server)
        books = server.books()
    assert end["exit_code"] == 143, end
    journal = open_for_reading(tmp_path / "r" / "journal")
    totals = journal.totals
    journal.close()
    answers = totals.attempts["tale", "completed"]
    measured = _measured(looks, answers)
    failed = books["failed_by_kind"]
    late = books["delivered"] - answers
    figures.say(seconds=SECONDS, answers=answers, late=late, **measured, failed_by_kind=failed)
    assert answers > SECONDS, "hardly anything was answered"
    # An answer that comes after its request's deadline was delivered to nobody. On a machine at rest there is none.
    late_max = sum(count for (_, kind), count in totals.attempts.items() if kind in GIVEN_UP) - failed["hang"]
    assert 0 <= late <= max(0, late_max), (answers, books["delivered"], totals.attempts)
    assert not totals.unresolved
    assert totals.settled <= books["picodollars_billed"] <= totals.settled + totals.uncertain
    warm = looks[int(len(looks) * WARM_UP) :]
    more = answers * (1 - WARM_UP)
    growth = measured["blocks_an_answer"] * more
    assert growth <= BLOCKS_NOISE or measured["blocks_an_answer"] <= BLOCKS_AN_ANSWER_MAX, measured
    assert measured["rss_mb_most"] <= RSS_BYTES_MAX / 1e6, measured
    growth = measured["rss_bytes_an_answer"] * more
    assert growth <= NOISE_BYTES or measured["rss_bytes_an_answer"] <= BYTES_AN_ANSWER_MAX, measured
    assert max(look["files"] for look in warm) <= CONCURRENCY * 2 + FILES_BESIDE, measured
    assert max(look["tasks"] for look in warm) <= CONCURRENCY * 2 + FILES_BESIDE, measured
    assert len({look["journal_files"] for look in warm}) == 1, measured
    for what in ("files", "tasks", "threads"):
        third = len(warm) // 3
        early, late = (median(look[what] for look in part) for part in (warm[:third], warm[-third:]))
        assert late <= early * 1.1 + 3, (what, early, late)


def _measured(looks: Sequence[Look], answers: int) -> dict[str, Any]:
    """From the looks after the warm-up. The journal's growth stands for the answers at each moment."""
    warm = looks[int(len(looks) * WARM_UP) :]
    bytes_an_answer = looks[-1]["journal_bytes"] / max(1, answers)
    rss, blocks = (
        slope([(look["journal_bytes"] / bytes_an_answer, look[what]) for look in warm])
        for what in ("rss_bytes", "blocks")
    )
    rate = (warm[-1]["journal_bytes"] - warm[0]["journal_bytes"]) / bytes_an_answer
    return {
        "answers_a_second": round(rate / (warm[-1]["seconds"] - warm[0]["seconds"]), 1),
        "blocks_an_answer": round(blocks, 5),
        "blocks_from_to": [warm[0]["blocks"], warm[-1]["blocks"]],
        "rss_bytes_an_answer": round(rss, 2),
        "rss_mb": [round(look["rss_bytes"] / 1e6, 1) for look in (warm[0], warm[-1])],
        "rss_mb_most": round(max(look["rss_bytes"] for look in looks) / 1e6, 1),
        **{
            f"{what}_from_to": [min(look[what] for look in warm), max(look[what] for look in warm)]
            for what in ("files", "journal_files", "tasks", "threads")
        },
    }
