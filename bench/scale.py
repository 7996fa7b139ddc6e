"""A million rows: plan, resume and build as whole processes, with what they take in time and memory.

The run folder is made through the real journal classes without a network (`synthetic_run.py`), and is killed with all
of it answered, or with half. Resuming is measured from the start of the process to its end where nothing is left to
send, and to the first request that arrives where something is.
"""

import json
import shutil
import socket
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.frame import Figure, Options, Part, at_least, at_most
from bench.recipes import ROWS_MAX, grid_recipe
from bench.running import (
    ALL_CORES,
    CLIENT_CORES,
    ROOT,
    Usage,
    client_environment,
    measured,
    run_command,
    started,
    tunemill_command,
)

ROWS_QUICK = 100_000
RESUME_S_MAX = 8
MEMORY_MIB_MAX = 200
BUILD_ROWS_S_MIN = 20_000
FIRST_REQUEST_S_MAX = 600.0
LOOK_EVERY_S = 0.25
NOWHERE = "http://127.0.0.1:1/v1"
TRAIN = '[train]\nuser = "{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f }}"\nassistant = "{{ line }}"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Everything that one synthetic run showed. Seconds and usages are of whole processes."""

    rows: int
    made: dict[str, Any]
    closed: dict[str, Any]
    plan: Usage
    killed_at_the_end: Usage
    finished: Usage
    build: Usage
    killed_in_the_middle_s: float
    changed_s: float


def one_round(folder: Path, rows: int) -> Round:
    """Make, kill, resume, build."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = grid_recipe(folder / "recipe.toml", rows=rows, more=TRAIN)
    whole, half, closed = folder / "whole", folder / "half", folder / "closed"
    closing = _synthetic(recipe, closed, rows // 10)
    shutil.rmtree(closed)
    _synthetic(recipe, half, rows // 2, "--killed")
    middle_s = _to_first_request(recipe, half)
    shutil.rmtree(half)
    made = _synthetic(recipe, whole, rows, "--killed")
    plan = _command("plan", recipe, said=folder / "plan")
    killed = _resume(recipe, whole)
    finished = _resume(recipe, whole)
    build = _command("build", whole, said=folder / "build", cores=ALL_CORES)
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("'f9'", "'f10'"), encoding="utf-8")
    changed_s = _to_first_request(recipe, whole)
    shutil.rmtree(whole)
    return Round(
        rows=rows,
        made=made,
        closed=closing,
        plan=plan,
        killed_at_the_end=killed,
        finished=finished,
        build=build,
        killed_in_the_middle_s=middle_s,
        changed_s=changed_s,
    )


def _synthetic(recipe: Path, run: Path, rows: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.synthetic_run", str(recipe), str(run), str(rows), *more]
    usage = measured(command, said=run.with_name(run.name + "-made"), environment=client_environment(NOWHERE), cwd=ROOT)
    return dict(json.loads(usage.stdout))


def _command(name: str, of: Path, *, said: Path, cores: Collection[int] = CLIENT_CORES) -> Usage:
    return measured(
        tunemill_command(name, of),
        said=said,
        cores=cores,
        environment=client_environment(NOWHERE),
        look_every_s=LOOK_EVERY_S,
    )


def _resume(recipe: Path, run: Path) -> Usage:
    said = run.with_name(run.name + "-resumed")
    return measured(run_command(recipe, run), said=said, environment=client_environment(NOWHERE))


def _to_first_request(recipe: Path, run: Path) -> float:
    """Seconds from the start of the process to its first connection; it is killed then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(FIRST_REQUEST_S_MAX)
        environment = client_environment(f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        began = time.perf_counter()
        with started(run_command(recipe, run), said=run.with_name("first"), environment=environment):
            server.accept()[0].close()
            return time.perf_counter() - began


def measure(options: Options) -> Iterator[Figure]:
    """A round for each of `options.rounds`, in the full form one: it takes minutes to make."""
    rows = options.size(ROWS_MAX, ROWS_QUICK)
    rounds = [one_round(options.folder / "1", rows)]
    yield from figures(rounds)


def figures(rounds: Sequence[Round]) -> Iterator[Figure]:
    """What the rounds come to."""
    rows = rounds[0].rows
    per_million = f"{rows:,} rows"

    def figure(name: str, unit: str, values: Sequence[float], **more: Any) -> Figure:
        return Figure(name=name, unit=unit, values=values, **more)

    second, memory = at_most(RESUME_S_MAX), at_most(MEMORY_MIB_MAX)
    yield figure(f"plan, {per_million}", "s", [each.plan.seconds for each in rounds])
    yield figure("plan's memory", "MiB", [each.plan.max_rss_mib for each in rounds], limit=memory)
    killed = [each.killed_at_the_end for each in rounds]
    yield figure("resumed after kill -9 at the end", "s", [each.seconds for each in killed], limit=second)
    yield figure("its memory", "MiB", [each.max_rss_mib for each in killed], limit=memory)
    middle = [each.killed_in_the_middle_s for each in rounds]
    yield figure("resumed after kill -9 in the middle, to the first request", "s", middle, limit=second)
    yield figure("finished, started again", "s", [each.finished.seconds for each in rounds], limit=second)
    changed = [each.changed_s for each in rounds]
    yield figure("with a value of one axis changed, to the first request", "s", changed, note="all rows are looked at")
    build = [each.build.rate(rows) for each in rounds]
    on_cores = f"on {len(ALL_CORES)} cores; {rounds[0].build.cpu_ms(rows) * 1000:.0f} µs of processor time a row"
    yield figure("build", "rows/s", build, limit=at_least(BUILD_ROWS_S_MIN), note=on_cores)
    held = [each.build.together_mib for each in rounds]
    yield figure("build's memory", "MiB", held, limit=memory, note="of all its processes at once")
    yield figure("writing the journal, its memory", "MiB", [each.made["max_rss_mib"] for each in rounds], limit=memory)
    snapshots = f"{rounds[0].made['snapshots']} snapshots were taken"
    stalls = [1000 * each.made["stall_s_max"] for each in rounds]
    yield figure("longest halt of the event loop for a snapshot", "ms", stalls, note=snapshots)
    commits = [1000 * each.made["commit_s_p99"] for each in rounds]
    median = 1000 * rounds[0].made["commit_s_median"]
    yield figure("99 % of group commits", "ms", commits, note=f"median {median:.1f} ms")
    closing = [each.closed["closing_s"] for each in rounds]
    yield figure(f"closing a changed run of {rows // 10:,} rows", "s", closing)


PART = Part(
    title="A million rows",
    about="A run folder made through the real journal, killed with all or half of it answered; then whole processes.",
    measure=measure,
)
