"""The server as a process: its command line, its ready line, its end, and the child that a parent holds."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.simulator import Simulator
from tests.support.wire import chat, chat_body, raw_request

from tunemill.local import ServerOptions, parse_arguments
from tunemill.local.child import LocalServerChild, LocalServerFailed
from tunemill.local.faults import Fault

REPOSITORY = Path(__file__).parents[2]


def run(args: Sequence[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the server's command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tunemill.local", *args],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        check=False,
    )


def alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_defaults_of_command_line_and_value_agree() -> None:
    """No flags, no difference."""
    assert parse_arguments([]) == ServerOptions()


def test_flags_become_options() -> None:
    """Repeatable ones add up."""
    flags = (
        "--fault all=0.01 --fault hang=0 --lose-reply upload=2 --lose-reply create=1 --delay create=0.5 --models a,b "
        "--random --job-per-retrieve --slots 3"
    )
    options = parse_arguments(flags.split())
    assert Fault.HANG not in options.faults.rates
    assert options.lose_reply == {"upload": 2, "create": 1}
    assert options.delay_s == {"create": 0.5}
    assert options.models == ("a", "b")
    assert options.seed is None
    assert options.job_pace.per_retrieve
    assert options.llama.slots == 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--fault", "bang=1"], "'bang' is no fault"),
        (["--fault", "all=0.5"], "must not exceed 1"),
        (["--latency-s", "-1"], "must be at least 0"),
        (["--requests-per-minute", "0"], "must be above 0"),
        (["--port", "99999"], "from 0 to 65535"),
        (["--lose-reply", "watch=1"], "must be upload or create"),
        (["--delay", "upload"], "NAME=VALUE"),
        (["--shutdown-date", "a=soon"], "--shutdown-date"),
        (["--backend", "magic"], "--backend"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_flag_is_named(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and one message."""
    with pytest.raises(SystemExit) as ended:
        parse_arguments(args)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_names_every_flag() -> None:
    """It is the documentation."""
    helped = run(["--help"])
    assert helped.returncode == 0
    for flag in ("--latency-s", "--requests-per-minute", "--fault", "--job-per-retrieve", "--slots", "--books"):
        assert flag in helped.stdout
    for kind in Fault:
        assert kind.value in helped.stdout.replace("\n", "").replace(" ", "")


def test_a_port_that_is_taken_is_one_message() -> None:
    """Exit status 2, and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(["--port", str(taken.getsockname()[1])])
    assert ended.returncode == 2
    assert "choose another --host or --port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("args", [["--model", "/nowhere/model.gguf"], ["--model", __file__]])
def test_a_model_that_cannot_be_used_is_one_message(args: list[str]) -> None:
    """Missing, or no GGUF file: exit status 2 and the path."""
    ended = run(["--backend", "llama", "--port", "0", *args])
    assert ended.returncode == 2
    assert args[1] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_library_is_one_message(tmp_path: Path) -> None:
    """It names what to install. The library is hidden by a package of the same name that cannot be imported."""
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not installed')\n")
    ended = run(["--backend", "llama", "--port", "0"], PYTHONPATH=str(tmp_path))
    assert ended.returncode == 2
    assert "pip install 'tunemill[local]'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_its_books_written(tmp_path: Path, number: signal.Signals) -> None:
    """Status 0 at once, also while requests hang; the totals are in the file."""
    with Simulator("--books", str(tmp_path / "books.json"), "--latency-s", "60") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(raw_request(chat_body()))
            while not server.books()["in_flight"]:
                time.sleep(0.005)
            os.kill(server.pid, number)
            while alive(server.pid):
                time.sleep(0.005)
        assert server.stop() == 0
    assert json.loads((tmp_path / "books.json").read_text())["received"] == 1


def test_it_ends_with_its_parent() -> None:
    """A parent that is killed with -9 leaves nothing behind."""
    script = (
        "import sys, time; from tunemill.local.child import LocalServerChild\n"
        "server = LocalServerChild(['--backend', 'simulator']).__enter__()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    assert alive(child_pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while alive(child_pid):
        time.sleep(0.005)


def test_without_the_flag_it_outlives_standard_input() -> None:
    """`serve` started with its input closed keeps serving."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tunemill.local", "--port", "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["backend"] == "simulator"
    with urllib.request.urlopen(ready["base_url"] + "/models", timeout=30) as reply:
        assert reply.status == 200
    process.terminate()
    assert process.wait() == 0
    process.stdout.close()


def test_a_child_has_a_process_group_of_its_own_and_is_stopped() -> None:
    """Ctrl-C on the terminal reaches only the parent."""
    with LocalServerChild(["--backend", "simulator", "--models", "m"]) as server:
        pid = server.pid
        assert server.model == "m"
        assert server.backend == "simulator"
        assert os.getpgid(pid) == pid != os.getpgrp()
        port = int(server.base_url.removesuffix("/v1").rpartition(":")[2])
        assert chat(port, model="m").status == 200
    assert not alive(pid)


async def test_a_child_can_be_held_by_a_coroutine() -> None:
    """And is stopped when the coroutine is cancelled, also while it is starting."""
    async with LocalServerChild(["--backend", "simulator"]) as server:
        pid = server.pid
    assert not alive(pid)
    starting = LocalServerChild(["--backend", "simulator"])
    task = asyncio.ensure_future(starting.__aenter__())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(AssertionError):
        _ = starting.pid


def test_a_child_that_cannot_start_says_why() -> None:
    """The error carries what it said on stderr."""
    with pytest.raises(LocalServerFailed, match=r"^--model .*no such file"):
        LocalServerChild(["--backend", "llama", "--model", "/nowhere/model.gguf"]).__enter__()


def test_a_child_that_is_too_late_is_not_left_behind() -> None:
    """The deadline ends it."""
    with pytest.raises(LocalServerFailed, match="not ready after 0 s"):
        LocalServerChild(["--backend", "simulator"], ready_deadline_s=0.0).__enter__()


def test_thousands_of_connections_are_held() -> None:
    """Each open and idle; one more is still served. As many as this process may open, up to 3,000."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(3000, hard - 200)
    with Simulator() as server, contextlib.ExitStack() as open_connections:
        for _ in range(count):
            open_connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        assert chat(server.port).status == 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_child_without_a_place_for_temporary_files_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a read-only root and no /tmp: a mistake that can be mended, and no traceback."""
    monkeypatch.setattr("tempfile.tempdir", "/not/there")
    with pytest.raises(LocalServerFailed, match="let /tmp be writable, or set TMPDIR"):
        LocalServerChild(["--backend", "simulator"]).__enter__()
