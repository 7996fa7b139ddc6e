"""`tunemill-health`: what a container's health check says of a run, of no run, and of one that hangs."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.cli_support import RECIPE, Shell, started
from tests.cli.test_control import until
from tests.support.simulator import Simulator

from tunemill.cli import health

DEADLINE_S = 100.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run folder in it, in which nobody works."""
    (tmp_path / "runs" / "films").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEMILL_RUN_DIR", raising=False)
    return tmp_path / "runs" / "films"


@contextmanager
def listening(folder: Path, answer: bytes | None) -> Iterator[None]:
    """Somebody behind the socket who answers one caller with this, or takes the call and says nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "control.sock"))
        server.listen(4)
        replying = threading.Thread(target=_answer_one, args=(server, answer), daemon=True)
        replying.start()
        yield
        replying.join(DEADLINE_S)


def _answer_one(server: socket.socket, answer: bytes | None) -> None:
    caller, _ = server.accept()
    with caller:
        caller.recv(4096)
        if answer is None:
            caller.recv(1)  # until it goes away
        else:
            caller.sendall(answer)


def asked() -> int | str | None:
    """The exit code."""
    with pytest.raises(SystemExit) as ended:
        health.main()
    return ended.value.code


def test_a_run_that_waits_is_healthy(shell: Shell, simulator: Simulator) -> None:
    """It answers although nothing moves: its provider takes every request and answers none."""
    simulator.control(paused=True)
    shell.write("films.toml", RECIPE)
    with started("run", "films.toml", cwd=shell.cwd, env=shell.env()) as process:
        until(lambda: bool(simulator.books()["in_flight"] > 0))
        checked = subprocess.run(
            [sys.executable, "-m", "tunemill.cli.health"], cwd=shell.cwd, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        assert checked.stdout == "runs/films/control.sock: running, 0 of 12 requests completed\n"
        process.kill()
    simulator.control(paused=False)


def test_where_there_is_no_run_there_is_nothing_to_be_ill(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another command, a run that has ended, and what a killed one left behind."""
    assert asked() == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "control.sock"))
    assert asked() == 0
    assert capsys.readouterr().out == "no run to ask\n" * 2


def test_a_run_that_does_not_answer_is_ill(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the call, so it is there, and it hangs."""
    monkeypatch.setattr(health, "SECONDS_MAX", 0.05)
    with listening(place, None):
        assert asked() == 1
    assert "did not answer within 0.05 s" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b'{"refused": "no"}\n'])
def test_a_run_that_talks_nonsense_is_ill(place: Path, answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A status is asked for, and only a status will do."""
    with listening(place, answer):
        assert asked() == 1
    assert "gave no answer" in capsys.readouterr().out


def test_the_run_folder_may_be_said_in_the_environment(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is to the run itself; a folder so deep that its name is no socket's address is reached all the same."""
    elsewhere = tmp_path / ("d" * 60) / ("e" * 60)
    elsewhere.mkdir(parents=True)
    monkeypatch.setenv("TUNEMILL_RUN_DIR", str(elsewhere))
    monkeypatch.chdir(elsewhere)
    with listening(Path(), b'{"state": "paused", "requests": {"completed": 3, "planned": 4}}\n'):
        monkeypatch.chdir(tmp_path)
        assert asked() == 0
    assert capsys.readouterr().out.endswith("control.sock: paused, 3 of 4 requests completed\n")
