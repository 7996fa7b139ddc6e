"""`runs` and `status`: what they say of runs that ended, were killed, are under way, hang, or are damaged."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.cli_support import RECIPE, Shell, environment, forked, started
from tests.support.simulator import Simulator

from tunemill.app import overview

DEADLINE_S = 100.0
FILMS = RECIPE[: RECIPE.index("[fine_tune]")]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(one_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of twelve rows that is finished."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "films.toml").write_text(FILMS)
    one_simulator.control(latency_s=0, faults={})
    assert forked("run", "films.toml", cwd=folder, env=environment(one_simulator.base_url)).code == 0
    return folder


@pytest.fixture
def films(finished: Path, shell: Shell) -> Shell:
    """A copy of it."""
    shutil.copytree(finished, shell.cwd, dirs_exist_ok=True)
    return shell


def _listed(shell: Shell, *args: str) -> dict[str, dict[str, Any]]:
    return {line["folder"]: line for line in shell.run("runs", *args, "--json").lines()}


def _copied(shell: Shell, name: str) -> Path:
    return Path(shutil.copytree(shell.cwd / "runs" / "films", shell.cwd / "runs" / name))


def _killed(run: Path, *, answers_left: int) -> None:
    """As kill -9 would leave it after so many answers: the journal ends in the middle, and there is no snapshot."""
    journal = run / "journal" / "000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = [number for number, line in enumerate(lines) if b'"kind":"completed"' in line][answers_left - 1]
    journal.write_bytes(b"".join(lines[: last + 1]))
    for snapshot in (run / "journal").glob(".index*"):
        snapshot.unlink()


def test_each_run_is_a_line_with_its_state_progress_and_cost(films: Shell) -> None:
    """Finished, without budget left, killed, empty: none of them says that it runs."""
    films.write("poor.toml", FILMS.replace('"films"', '"poor"').replace("usd = 1.0", "usd = 0.00013"))
    assert films.run("run", "poor.toml").code == 3
    _killed(_copied(films, "killed"), answers_left=5)
    (films.cwd / "runs" / "begun" / "journal").mkdir(parents=True)
    (films.cwd / "runs" / "something else").mkdir()
    lines = _listed(films)
    status = films.run("status", "films", "--json").json()
    states = {name: line["state"] for name, line in lines.items()}
    assert states == {"films": "finished", "poor": "budget_reached", "killed": "interrupted", "begun": "idle"}
    for key in ("requests", "usd"):
        assert lines["films"][key].items() <= status[key].items()
    assert lines["films"]["simulated"] is status["simulated"] is False
    assert lines["killed"]["requests"] == {"planned": 12, "completed": 5, "failed": 0}
    killed = films.run("status", "killed", "--json").json()
    assert lines["killed"]["usd"]["settled"] == killed["usd"]["settled"]
    assert lines["killed"]["usd"]["uncertain"] == killed["usd"]["uncertain"]
    assert (killed["state"], killed["process"]) == ("interrupted", "none")


def test_the_table_is_for_people(films: Shell) -> None:
    """The last one that was active first; in eighty columns when asked for."""
    ending = films.run("runs")
    heading, line = ending.out.splitlines()
    assert heading.split() == ["run", "state", "done", "cost", "active"]
    assert line.split()[:5] == ["films", "finished", "12/12", "100", "%"]
    assert "of $1.00" in line
    assert line.rstrip().endswith("just now")


def test_without_runs_it_says_how_to_start_one(shell: Shell) -> None:
    """And that is no mistake."""
    ending = shell.run("runs")
    assert (ending.code, ending.out) == (0, "")
    assert "no runs in runs" in ending.err
    assert shell.run("runs", "nowhere").code == 2


def test_a_folder_may_be_named_and_may_be_a_run_itself(films: Shell) -> None:
    """Wherever runs are kept."""
    moved = Path(shutil.move(films.cwd / "runs", films.cwd / "kept"))
    for place in (moved, moved / "films"):
        (line,) = _listed(films, str(place)).values()
        assert (line["folder"], line["state"]) == (str(moved / "films"), "finished")


@pytest.mark.parametrize("damage", ["a line", "a segment", "no folder", "finetune.json"])
def test_a_damaged_folder_is_a_line_and_no_crash(damage: str, films: Shell) -> None:
    """The others are shown as ever."""
    broken = _copied(films, "broken")
    journal = broken / "journal" / "000001.jsonl"
    for snapshot in (broken / "journal").glob(".index*"):
        snapshot.unlink()
    match damage:
        case "a line":
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"".join([*lines[:3], b"garbage\n", *lines[3:]]))
        case "a segment":
            journal.rename(journal.with_name("000002.jsonl"))
        case "no folder":
            shutil.rmtree(broken / "journal")
            (broken / "journal").write_text("a file")
        case _:
            (broken / "finetune.json").write_text("{")
    lines_shown = _listed(films)
    assert lines_shown["films"]["state"] == "finished"
    assert lines_shown["broken"]["state"] == "unreadable"
    assert films.run("runs").code == 0


def test_nothing_that_a_snapshot_covers_is_read(films: Shell) -> None:
    """A run of a million rows is as quick as one of twelve: a changed byte in the middle is not even noticed."""
    journal = films.cwd / "runs" / "films" / "journal" / "000001.jsonl"
    before = journal.stat()
    with journal.open("r+b") as handle:
        handle.seek(before.st_size // 2)
        handle.write(b"\0")
    os.utime(journal, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _listed(films)["films"]["requests"]["completed"] == 12


def test_what_would_take_long_to_read_is_said_to_be_older(films: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed long after its last snapshot: its state is certain, its figures are not."""
    _killed(_copied(films, "killed"), answers_left=5)
    monkeypatch.setattr(overview, "TAIL_BYTES_MAX", 100)
    line = _listed(films)["killed"]
    assert (line["state"], line["as_of"]) == ("interrupted", 0.0)
    assert "not counted: see status" in films.run("runs").out


@contextmanager
def _under_way(shell: Shell, simulator: Simulator) -> Iterator[int]:
    """A run that is far from its end; its process."""
    simulator.control(latency_s=0.2)
    slow = FILMS.replace("[budget]", "[limits]\nconcurrency = 1\nrequests_per_minute = 60\n[budget]")
    shell.write("films.toml", slow)
    with (
        (shell.cwd / "log").open("wb") as log,
        started("run", "films.toml", cwd=shell.cwd, env=shell.env(), stderr=log) as process,
    ):
        until(lambda: bool(simulator.books()["delivered"] >= 1))
        yield process.pid


def test_a_run_under_way_is_asked_and_one_that_hangs_is_not_waited_for(shell: Shell, simulator: Simulator) -> None:
    """Running, paused, stopped by a signal, killed: each is called what it is."""
    with _under_way(shell, simulator) as process:
        assert _listed(shell)["films"]["state"] == "running"
        assert shell.run("status", "films", "--json").json()["process"] == "answers"
        assert shell.run("pause", "films").code == 0
        assert _listed(shell)["films"]["state"] == "paused"
        os.kill(process, signal.SIGSTOP)
        line = _listed(shell)["films"]
        assert (line["state"], line["note"]) == (
            "running",
            f"process {process} does not answer: it hangs, or was stopped",
        )
        ending = shell.run("status", "films")
        assert f"process    {process} holds the run and did not answer within 3 s" in ending.out
        assert shell.run("status", "films", "--json").json()["process"] == "silent"
        os.kill(process, signal.SIGKILL)
        until(lambda: _listed(shell)["films"]["state"] == "interrupted")
    assert "next       run again to go on" in shell.run("status", "films").out
