"""Running the command as a person does: in a folder, with an environment, to an exit code, an output and a talk.

`installed` starts the real command; `forked` and `started` begin where everything is loaded; `Shell.run` calls the same
`main` in this process, which is faster still.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import pytest
from tests.support import warm
from tests.support.logs import logs_restored

COMMAND = str(Path(sys.executable).with_name("tunemill"))
KEY = "sk-not-a-real-key-0123456789"
_CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("TUNEMILL_", "OPENAI_")) and name != "CI"
}

RECIPE = """
name = "films"
[source]
kind = "grid"
[source.axes]
genre = ["horror", "western", "musical"]
place = ["India", "France", "Egypt", "Brazil"]
[[steps]]
name = "plot"
model = "gpt-4o-mini"
prompt = "Plot a {{ genre }} film in {{ place }}."
[steps.params]
max_tokens = 40
[budget]
usd = 1.0
[clean]
min_chars = 1
finish_reasons = ["stop", "length"]
[train]
format = "chat"
user = "{{ genre }} in {{ place }}"
assistant = "{{ plot }}"
validation_fraction = 0.1
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 2
"""
ROWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The output, parsed."""
        return orjson.loads(self.out)

    def lines(self) -> list[Any]:
        """The output, an object a line."""
        return [orjson.loads(line) for line in self.out.splitlines()]

    @property
    def talk(self) -> list[str]:
        """What was said on stderr, without the log."""
        return [line for line in self.err.splitlines() if not line.startswith('{"timestamp"')]


def environment(base_url: str, **changes: str) -> dict[str, str]:
    """What the command sees: nothing of tunemill's but what is given here. An empty change takes a variable out."""
    known = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY, "COLUMNS": "80", **changes}
    return {name: value for name, value in (_CLEAN | known).items() if value}


def installed(
    *args: str, cwd: Path, env: Mapping[str, str], stdin: str = "", command: tuple[str, ...] = (COMMAND,)
) -> Ending:
    """The installed command, in a process of its own."""
    done = subprocess.run(
        [*command, *args], cwd=cwd, env=dict(env), input=stdin.encode(), capture_output=True, timeout=60, check=False
    )
    return Ending(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def forked(*args: str, cwd: Path, env: Mapping[str, str], stdin: str = "") -> Ending:
    """As `installed`, at a small part of the price: for what is not about how a process begins."""
    pipe = subprocess.PIPE
    with warm.popen("tunemill", *args, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate(stdin.encode(), timeout=60)
        finally:
            process.kill()
    return Ending(code=process.returncode, out=out.decode(), err=err.decode())


@contextmanager
def started(
    *args: str,
    cwd: Path,
    env: Mapping[str, str],
    stderr: int | IO[bytes] = subprocess.PIPE,
    begin: Callable[..., subprocess.Popen[bytes]] = warm.popen,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, while it runs; killed at the end where it still does."""
    process = begin("tunemill", *args, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Shell:
    """A folder, an environment and a server: what a person has in front of them. Commands run in this process."""

    def __init__(
        self, cwd: Path, base_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.cwd = cwd
        self._base_url = base_url
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the folder."""
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def env(self, **changes: str) -> dict[str, str]:
        """The environment of a process of its own."""
        return environment(self._base_url, **changes)

    def run(self, *args: str, **changes: str) -> Ending:
        """The command, by the same `main`."""
        from tunemill.cli import main

        before, thresholds = signal.getsignal(signal.SIGTERM), gc.get_threshold()
        with self._monkeypatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in self.env(**changes).items():
                patch.setenv(name, value)
            patch.chdir(self.cwd)
            patch.setattr(sys, "argv", ["tunemill", *args])
            self._capsys.readouterr()
            try:
                with logs_restored(), pytest.raises(SystemExit) as ending:
                    main()
            finally:
                signal.signal(signal.SIGTERM, before)
                gc.set_threshold(*thresholds)  # the garbage of all the other tests would be left lying
        code = ending.value.code
        assert isinstance(code, int)
        captured = self._capsys.readouterr()
        return Ending(code=code, out=captured.out, err=captured.err)
