"""The installed command as a child process, for tests that kill it."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import warm

KEY = "test-key"
DEADLINE_S = 100.0

GRID = """\
name = "{name}"
[source]
kind = "grid"
sample = {rows}
[source.axes]
colour = ["red", "green", "blue", "black", "white", "grey", "pink", "teal", "gold", "rust"]
animal = ["cat", "dog", "cow", "hen", "fox", "owl", "bee", "elk", "ant", "emu"]
number = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
letter = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
mark = ["k", "l", "m", "n", "o", "p", "q", "r", "s", "t"]
[[steps]]
name = "tale"
model = "gpt-4o-mini"
prompt = "{{{{ entropy }}}} About {{{{ number }}}} {{{{ colour }}}} {{{{ animal }}}}s {{{{ letter }}}}{{{{ mark }}}}"
[steps.params]
max_tokens = {max_tokens}
{more}
[train]
user = "{{{{ colour }}}} {{{{ animal }}}} {{{{ number }}}} {{{{ letter }}}}{{{{ mark }}}}"
assistant = "{{{{ tale }}}}"
validation_fraction = 0.1
"""


def grid_recipe(path: Path, *, rows: int, max_tokens: int = 200, more: str = "", name: str = "acceptance") -> Path:
    """Write a recipe over a grid of 100,000 cells, of which `rows` are drawn."""
    path.write_text(GRID.format(name=name, rows=rows, max_tokens=max_tokens, more=more), encoding="utf-8")
    return path


def command(*args: str | Path) -> list[str]:
    """The installed command with these arguments."""
    return [str(Path(sys.executable).with_name("tunemill")), *map(str, args)]


def environment(base_url: str, **more: str) -> dict[str, str]:
    """The environment of a run against a server on loopback."""
    return {**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY, **more}


def run(
    *args: str | Path, base_url: str, cwd: Path, deadline_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run to its end. stdout and stderr are captured."""
    env, pipe = environment(base_url), subprocess.PIPE
    with warm.popen("tunemill", *map(str, args), cwd=cwd, env=env, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate(timeout=deadline_s)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out.decode(), err.decode())


@contextlib.contextmanager
def started(
    *args: str | Path, base_url: str, cwd: Path, under: Sequence[str] = (), **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run in the background; killed at the end if it is still there. `under` is a command that starts it in its place,
    `more` are variables of its environment."""
    env, null = environment(base_url, **more), subprocess.DEVNULL
    if under:
        process = subprocess.Popen([*under, *command(*args)], cwd=cwd, env=env, stdin=null, stdout=null, stderr=null)
    else:
        process = warm.popen("tunemill", *map(str, args), cwd=cwd, env=env, stdout=null, stderr=null)
    with process:
        try:
            yield process
        finally:
            process.kill()


def kill_after_growth(
    process: subprocess.Popen[bytes], journal: Path, bytes_more: int, *, later_s: float = 0.0
) -> bool:
    """kill -9 so long after the journal has grown by so many bytes; False where the process ended before."""
    size = _size(journal)
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        if _size(journal) >= size + bytes_more:
            time.sleep(later_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.005)
    return False


def kill_at_random_moments(
    times: int, chance: random.Random, *args: str | Path, base_url: str, cwd: Path, journal: Path, growth: int
) -> int:
    """Start and kill -9 a run so many times, each after the journal grew by a random share of `growth` bytes."""
    killed = 0
    for _ in range(times):
        with started(*args, base_url=base_url, cwd=cwd) as process:
            # The journal grows just before requests leave; a moment later any of their stages may be hit.
            later_s = chance.uniform(0.0, 0.1)
            killed += kill_after_growth(process, journal, chance.randint(1, growth), later_s=later_s)
    return killed


def _size(journal: Path) -> int:
    return sum(path.stat().st_size for path in journal.glob("*.jsonl")) if journal.is_dir() else 0
