"""Whole processes, measured from outside: how long, how much processor time, how much memory, on which cores."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).parent
ROOT = BENCH.parent
_CORES = sorted(os.sched_getaffinity(0))
# The client has a core of its own wherever there are two; whoever answers it has the others.
CLIENT_CORES = frozenset(_CORES[:1])
SERVER_CORES = frozenset(_CORES[1:] or _CORES)
ALL_CORES = frozenset(_CORES)
_MIB = 1024 * 1024
_SAID_SHOWN = 4000  # characters
DEADLINE_S = 1200.0  # nothing that is measured here takes as long


class ProcessFailed(Exception):
    """A measured process ended otherwise than it should; the message has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one process needed from its start to its end, with the children that it waited for."""

    seconds: float
    cpu_s: float
    max_rss_mib: float  # of the largest single process among them
    together_mib: float  # what all of them held at once, at most; where that was not looked at, the largest alone
    exit_code: int
    stdout: str

    def rate(self, done: int) -> float:
        """So many things a second, start-up and end included."""
        return done / self.seconds

    def cpu_ms(self, done: int) -> float:
        """Processor time for each of so many things, start-up and end included."""
        return 1000 * self.cpu_s / done


@contextlib.contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """What is started in here stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Running:
    """A process under way; `pid` is there for signals and `rss_mib`, `wait` gives its usage, once."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path, started: float) -> None:
        self._process = process
        self._said = said
        self._started = started
        self.usage: Usage | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has come to its end by itself; `wait` then returns at once."""
        return self._ends_within(0)

    def wait(self, deadline_s: float = DEADLINE_S, *, look_every_s: float | None = None) -> Usage:
        """Its usage, when it has ended. With `look_every_s`, the memory of its children is looked at meanwhile.

        Raises ProcessFailed where it has not ended within so many seconds."""
        if self.usage is None:
            together_mib, has_ended = 0.0, False
            until = time.perf_counter() + deadline_s
            while not has_ended and (left_s := until - time.perf_counter()) > 0:
                has_ended = self._ends_within(left_s if look_every_s is None else min(left_s, look_every_s))
                if look_every_s is not None:
                    together_mib = max(together_mib, sum(pss_mib(pid) for pid in family(self.pid)))
            if not has_ended:
                raise ProcessFailed(f"process {self.pid} still runs after {deadline_s:g} s; it said: {self.stderr()}")
            _, status, usage = os.wait4(self.pid, 0)
            seconds = time.perf_counter() - self._started
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.usage = Usage(
                seconds=seconds,
                cpu_s=usage.ru_utime + usage.ru_stime,
                max_rss_mib=usage.ru_maxrss / 1024,
                together_mib=max(together_mib, usage.ru_maxrss / 1024),
                exit_code=self._process.returncode,
                stdout=self._said.with_suffix(".out").read_text(encoding="utf-8", errors="replace"),
            )
        return self.usage

    def _ends_within(self, seconds: float) -> bool:
        """Whether it ends; it is left for `wait` to collect, because whoever collects it gets its usage."""
        if self.usage is not None:
            return True
        ended = os.pidfd_open(self.pid)
        try:
            return bool(select.select([ended], [], [], seconds)[0])
        finally:
            os.close(ended)

    def stderr(self) -> str:
        """The end of what it said so far."""
        return self._said.with_suffix(".err").read_text(encoding="utf-8", errors="replace")[-_SAID_SHOWN:]

    def stop(self) -> None:
        """Kill it where it still runs."""
        if self.usage is None:
            self._process.kill()
            self.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    said: Path,
    cores: Collection[int] = CLIENT_CORES,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Running]:
    """Start a process; what it says goes to `said` with the endings .out and .err. Killed at the end if still there."""
    with said.with_suffix(".out").open("wb") as out, said.with_suffix(".err").open("wb") as err, pinned(cores):
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=None if environment is None else dict(environment),
            cwd=cwd,
        )
    running = Running(process, said, began)
    try:
        yield running
    finally:
        running.stop()


def measured(
    command: Sequence[str | Path],
    *,
    said: Path,
    cores: Collection[int] = CLIENT_CORES,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    exit_codes: Collection[int] = (0,),
    look_every_s: float | None = None,
) -> Usage:
    """Run a process to its end; see `Running.wait`. Raises ProcessFailed where its exit code is none of those
    expected."""
    with started(command, said=said, cores=cores, environment=environment, cwd=cwd) as running:
        usage = running.wait(look_every_s=look_every_s)
    if usage.exit_code not in exit_codes:
        shown = " ".join(str(word) for word in command)
        raise ProcessFailed(f"{shown} ended with {usage.exit_code} and said: {running.stderr()}{usage.stdout[-500:]}")
    return usage


def tunemill_command(*words: str | Path) -> list[str]:
    """`tunemill` with these words, of this checkout."""
    return [sys.executable, "-m", "tunemill", *map(str, words)]


def run_command(recipe: Path, run: Path, *more: str) -> list[str]:
    """`tunemill run` up to and with generation, quiet but for warnings."""
    return tunemill_command("run", recipe, "--until", "generate", "--log-level", "warning", "--run-dir", run, *more)


def client_environment(base_url: str, **more: str) -> dict[str, str]:
    """The environment of a client of a server on loopback."""
    path = os.pathsep.join(filter(None, [str(ROOT / "service"), os.environ.get("PYTHONPATH", "")]))
    ours = {"PYTHONPATH": path, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "bench"}
    # Whoever installs tunemill has it compiled: a checkout that is compiled at every start would look slower.
    return {**os.environ, **ours, "PYTHONDONTWRITEBYTECODE": "", **more}


def tunemill_run(
    recipe: Path,
    run: Path,
    *more: str,
    server: str,
    cores: Collection[int] = CLIENT_CORES,
    exit_codes: Collection[int] = (0,),
) -> Usage:
    """`tunemill run` against the server with this base URL, to its end."""
    return measured(
        run_command(recipe, run, *more),
        said=run.with_name(run.name + "-said"),
        cores=cores,
        environment=client_environment(server),
        exit_codes=exit_codes,
    )


def status(run: Path) -> dict[str, object]:
    """What `tunemill status --json` says about a run folder."""
    words = tunemill_command("status", run, "--json")
    found: dict[str, object] = json.loads(subprocess.check_output(words, env=client_environment("http://127.0.0.1:1")))
    return found


def rss_mib(pid: int) -> float:
    """What a process holds in memory at this moment."""
    resident = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / _MIB


def pss_mib(pid: int) -> float:
    """What a process holds in memory at this moment, its part of what it shares with others; 0 where it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def family(pid: int) -> Iterator[int]:
    """A process and all that it started and that are still there."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from family(int(child))
