"""The command as a process: signals, pipes, locales, and the same figures from outside while it runs."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.cli_support import COMMAND, RECIPE, ROWS, Shell, forked, installed, started
from tests.support import warm
from tests.support.simulator import Simulator

from tunemill.cli.options import variable_of

DEADLINE_S = 30.0
SLOW = RECIPE[: RECIPE.index("[fine_tune]")].replace("[budget]", "[limits]\nconcurrency = 2\n[budget]")


@pytest.fixture
def films(shell: Shell, simulator: Simulator) -> Shell:
    """A recipe whose answers take half a second, two at a time."""
    simulator.control(latency_s=0.5)
    shell.write("films.toml", SLOW)
    return shell


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def _some_are_answered(simulator: Simulator) -> Callable[[], bool]:
    def holds() -> bool:
        books = simulator.books()
        return bool(books["delivered"] >= 2 and books["in_flight"] > 0)

    return holds


# -- signals ---------------------------------------------------------------------------------------------------------


def test_a_signal_that_comes_too_early_is_not_lost(shell: Shell) -> None:
    """The image starts the command with SIGTERM blocked; one from before there was a handler ends it as any other."""
    for _ in range(3):
        with subprocess.Popen(
            ["env", "--block-signal=TERM", COMMAND, "serve", "--port", "0"],
            env=shell.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            _until(lambda: "SigBlk:\t0000000000004000" in _process_status(process.pid))
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (143, (b"", b""))


def _process_status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_waits_for_what_is_in_flight(
    number: signal.Signals, code: int, films: Shell, simulator: Simulator
) -> None:
    """The answers that were paid for are kept; the next run pays for no row twice."""
    begin = warm.cold if number is signal.SIGTERM else warm.popen  # the one that a container's end is, as installed
    with started("run", "films.toml", "--until", "build", cwd=films.cwd, env=films.env(), begin=begin) as process:
        _until(_some_are_answered(simulator))
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert err.decode().splitlines()[-1] == f"stopped by {number.name}; run again to go on"
    books = simulator.books()
    status = films.run("status", "films", "--json").json()
    assert status["state"] == "interrupted"
    assert 0 < status["requests"]["completed"] < ROWS
    assert status["requests"]["completed"] == books["billed"] == books["delivered"]
    assert status["usd"]["uncertain"] == 0
    simulator.control(latency_s=0)
    assert films.run("run", "films.toml", "--until", "build").code == 0
    assert (simulator.books()["billed"], simulator.books()["billed_twice"]) == (ROWS, 0)


def test_the_second_signal_stops_at_once(films: Shell, simulator: Simulator) -> None:
    """What was in flight may have been billed, and is counted so."""
    simulator.control(latency_s=20)
    with started("run", "films.toml", "--until", "build", cwd=films.cwd, env=films.env()) as process:
        _until(lambda: simulator.books()["in_flight"] > 0)
        process.send_signal(signal.SIGTERM)
        log = process.stderr
        assert log is not None
        _until(lambda: b'"state":"draining"' in log.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S / 2)
    assert process.returncode == 143
    status = films.run("status", "films", "--json").json()
    assert status["state"] == "interrupted"
    assert status["usd"]["uncertain"] > 0
    assert status["usd"]["reserved"] == 0


def test_no_patience_is_a_grace_of_nothing(films: Shell, simulator: Simulator) -> None:
    """--grace 0 waits for nobody."""
    simulator.control(latency_s=20)
    with started("run", "films.toml", "--grace", "0", cwd=films.cwd, env=films.env()) as process:
        _until(lambda: simulator.books()["in_flight"] > 0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S / 2)
    assert process.returncode == 143


def test_watching_can_be_stopped(shell: Shell) -> None:
    """The job goes on; the folder is free again."""
    with Simulator("--job-running-s", "1000") as slow:
        env = shell.env(OPENAI_BASE_URL=slow.base_url)
        shell.write("films.toml", RECIPE)
        assert shell.run("run", "films.toml", "--until", "submit", OPENAI_BASE_URL=slow.base_url).code == 0
        with started("watch", "films", cwd=shell.cwd, env=env) as process:
            assert process.stderr is not None
            assert any(b"job" in line for line in process.stderr)  # reads as far as that
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert slow.books()["jobs_created"] == 1


def test_a_killed_run_is_interrupted_on_record(films: Shell, simulator: Simulator) -> None:
    """Nobody was there to say so: the lock is free, and what was in flight is uncertain."""
    with started("run", "films.toml", "--until", "build", cwd=films.cwd, env=films.env()) as process:
        _until(_some_are_answered(simulator))
        simulator.control(latency_s=60)  # from here on it gets nowhere
        assert films.run("status", "films", "--json").json()["state"] == "running"
        assert forked("run", "films.toml", cwd=films.cwd, env=films.env()).code == 75
        process.kill()
        process.communicate()
    status = films.run("status", "films", "--json").json()
    assert (status["state"], status["usd"]["reserved"]) == ("interrupted", 0)
    assert status["usd"]["uncertain"] > 0
    assert status["requests"]["completed"] >= 2


def test_a_live_run_tells_the_same_from_outside(films: Shell, simulator: Simulator) -> None:
    """`--listen`: the shape of /status is that of `status --json`; the port is free again afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ("--until", "build", "--listen", f"127.0.0.1:{port}")
    with started("run", "films.toml", *flags, cwd=films.cwd, env=films.env()) as process:
        _until(_some_are_answered(simulator))
        simulator.control(latency_s=3)  # from here on it gets nowhere
        on_disk = films.run("status", "films", "--json").json()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as reply:
            assert reply.status == 200
            live = json.load(reply)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    assert live.keys() == on_disk.keys() - {"process", "folder"}
    assert live["requests"]["planned"] == on_disk["requests"]["planned"] == ROWS
    assert live["usd"]["budget"] == on_disk["usd"]["budget"]
    assert on_disk["state"] == live["state"] == "running"


# -- pipes, places, languages ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, one_simulator: Simulator) -> Path:
    """A folder with a finished run whose answers and fields are not all ASCII."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "films.toml").write_text(SLOW.replace("India", "Côte d’Azur").replace("western", "西部劇"))
    one_simulator.control(latency_s=0, faults={})
    env = {"OPENAI_BASE_URL": one_simulator.base_url, "OPENAI_API_KEY": "sk-x", "PATH": "/usr/bin:/bin"}
    assert installed("run", "films.toml", cwd=folder, env=env).code == 0
    return folder


def _sh(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}".replace("tunemill", COMMAND)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "80", **env},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "show films",
        pytest.param("show films --json", marks=pytest.mark.torture),
        pytest.param("--help", marks=pytest.mark.torture),
    ],
)
def test_a_reader_who_has_seen_enough_is_no_error(command: str, finished: Path) -> None:
    """`| head -1` ends it quietly, however much is left."""
    done = _sh(f"tunemill {command} | head -c 1", finished)
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_cannot_be_written_is_74(finished: Path) -> None:
    """One message, and nothing from the interpreter after it."""
    done = _sh("tunemill show films >/dev/full", finished)
    assert done.returncode == 74
    assert done.stderr == (
        b"tunemill: the output cannot be written (No space left on device); make room, or send it elsewhere\n"
    )


@pytest.mark.parametrize("locale", ["C", pytest.param("C.UTF-8", marks=pytest.mark.torture)])
def test_any_locale_will_do(locale: str, finished: Path) -> None:
    """What the locale has no letters for is written as an escape."""
    for command in ("show films", "show films --json", "plan films.toml"):
        done = _sh(f"tunemill {command}", finished, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout


def test_no_colour_where_none_is_wanted(finished: Path) -> None:
    """NO_COLOR, and whatever is no terminal, get plain text."""
    for env in ({"NO_COLOR": "1"}, {}):
        assert b"\x1b" not in _sh("tunemill show films; tunemill plan films.toml", finished, **env).stdout


def test_the_module_and_the_command_are_one(finished: Path, shell: Shell) -> None:
    """`python -m tunemill`, a version, and help for whoever says nothing."""
    version = installed("--version", cwd=finished, env=shell.env())
    module = installed("--version", cwd=finished, env=shell.env(), command=(sys.executable, "-m", "tunemill"))
    assert version.out == module.out
    assert version.out.startswith("tunemill 0.")
    nothing = installed(cwd=finished, env=shell.env())
    assert nothing.code == 0
    assert nothing.out == installed("--help", cwd=finished, env=shell.env()).out
    assert "Commands:" in nothing.out


def test_help_fits_the_screen_and_names_the_variables(shell: Shell) -> None:
    """80 columns; no command's short help is cut; every flag of `run` says its variable."""
    overview = shell.run("--help").out
    assert "..." not in overview.partition("Commands:")[2]
    for command in ("run", "plan", "show", "check", "chat", "submit", "status", "watch", "cancel", "build", "init"):
        text = shell.run(command, "--help").out
        assert all(len(line) <= 80 for line in text.splitlines())
        flags = re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)
        assert [flag for flag in flags if variable_of(flag) not in text] == []
    assert "tunemill serve" in shell.run("serve", "--help").out


def test_a_disk_that_fills_up_is_74(shell: Shell) -> None:
    """What was answered before stays; more room finishes the run. A limit on the size of files stands for the disk."""
    shell.write("films.toml", SLOW.replace('"musical"', ", ".join(f'"genre {number}"' for number in range(60))))
    limited = ("bash", "-c", f'ulimit -f 24; exec {COMMAND} "$@"', "tunemill")
    full = installed("run", "films.toml", "--until", "generate", cwd=shell.cwd, env=shell.env(), command=limited)
    assert full.code == 74, full.err
    assert full.talk[-1].startswith("tunemill: runs/films/")
    assert full.talk[-1].endswith("make room or mend the folder, then run again")
    status = shell.run("status", "films", "--json").json()
    assert status["requests"]["completed"] > 0
    assert shell.run("run", "films.toml", "--until", "generate").code == 0


@pytest.mark.parametrize("closed", [pytest.param(">&-", marks=pytest.mark.torture), ">&- 2>&- <&-"])
def test_a_closed_stream_is_silence(closed: str, finished: Path) -> None:
    """No traceback, and no file of ours in its place."""
    assert _sh(f"tunemill show films {closed}", finished).returncode == 0
    assert _sh(f"tunemill status film {closed}", finished).returncode == 2
