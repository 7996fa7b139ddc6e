"""The socket in a run folder: who may use it, where it can be, and what callers cannot do to it."""

import asyncio
import contextlib
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunemill.model import JsonObject
from tunemill.telemetry import control_socket as module
from tunemill.telemetry.control_socket import CALLERS_MAX, LINE_BYTES_MAX, ask, control_socket

DEADLINE_S = 20.0


async def echo(request: dict[str, Any]) -> JsonObject:
    return {"heard": request}


def names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


async def asked(path: Path, request: JsonObject) -> dict[str, Any] | None:
    """`ask` blocks, as it may in a process of its own."""
    return await asyncio.to_thread(ask, path, request, timeout_s=DEADLINE_S)


async def test_a_line_is_answered_by_a_line(tmp_path: Path) -> None:
    """As often as anybody likes, and nothing is left in the folder afterwards."""
    path = tmp_path / "control.sock"
    async with control_socket(path, echo):
        for number in range(3):
            assert await asked(path, {"do": "it", "number": number}) == {"heard": {"do": "it", "number": number}}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == []
    assert await asked(path, {}) is None


async def test_a_folder_may_lie_as_deep_as_it_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address has room for about a hundred bytes, and a path for thousands, relative or not."""
    deep = tmp_path.joinpath(*["a folder with a long name and some letters more, öäü"] * 12)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    async with control_socket(path, echo):
        assert path.is_socket()
        assert not path.is_symlink()
        assert await asked(path, {"do": 1}) == {"heard": {"do": 1}}
        monkeypatch.chdir(deep)
        assert await asked(Path("control.sock"), {"do": 2}) == {"heard": {"do": 2}}
    assert names_in(deep) == []


async def test_where_no_socket_can_be_a_link_leads_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none. The folder that it is in is private, and goes with it, also after a kill."""
    path = tmp_path / "control.sock"
    bound = module._bound

    def only_elsewhere(at: Path) -> socket.socket:
        if at == path:
            raise OSError("no sockets here")
        return bound(at)

    monkeypatch.setattr(module, "_bound", only_elsewhere)
    async with control_socket(path, echo):
        elsewhere = path.readlink()
        assert stat.S_IMODE(elsewhere.parent.stat().st_mode) == 0o700
        assert await asked(path, {"do": 1}) == {"heard": {"do": 1}}
    assert not elsewhere.parent.exists()
    assert names_in(tmp_path) == []
    elsewhere.parent.mkdir()  # a killed process leaves both
    elsewhere.touch()
    path.symlink_to(elsewhere)
    async with control_socket(path, echo):
        assert not elsewhere.parent.exists()
        assert await asked(path, {"do": 2}) == {"heard": {"do": 2}}


def test_what_is_no_socket_of_ours_is_not_followed(tmp_path: Path) -> None:
    """A link that somebody made to something else goes; what it leads to stays."""
    precious = tmp_path / "tunemill-precious" / "file"
    precious.parent.mkdir()
    precious.touch()
    path = tmp_path / "control.sock"
    path.symlink_to(precious)
    module.remove_socket(path)
    assert precious.exists()
    assert not path.is_symlink()


async def test_a_socket_that_cannot_be_taken_away_hides_no_other_trouble(tmp_path: Path) -> None:
    """Whoever ends because the disk has become read-only says that, and nothing of a socket."""
    path = tmp_path / "control.sock"
    async with control_socket(path, echo):
        path.unlink()
        path.mkdir()
    assert path.is_dir()


KILLED = """
import asyncio, sys
from pathlib import Path
from tunemill.telemetry.control_socket import control_socket
async def main():
    async def answer(request): return {"pid": 1}
    async with control_socket(Path(sys.argv[1]), answer):
        print("ready", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


@contextlib.contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that answers at the path; killed at the end."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


async def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    """Nobody answers there any more; the next one takes its place."""
    path = tmp_path / "control.sock"
    with another_process(path) as process:
        assert process.poll() is None
        assert await asked(path, {}) == {"pid": 1}
    assert path.is_socket()
    assert await asked(path, {}) is None
    async with control_socket(path, echo):
        assert await asked(path, {"do": 1}) == {"heard": {"do": 1}}


async def test_a_process_that_stands_still_is_not_waited_for(tmp_path: Path) -> None:
    """The kernel takes the call; nobody answers it in time."""
    path = tmp_path / "control.sock"
    with another_process(path) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(ask, path, {"do": 1}, timeout_s=0.2)


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"not JSON\n", b"[1]\n", b"{}", b"x" * (2 * LINE_BYTES_MAX), b"\xff\xfe\n"]
)
async def test_nonsense_harms_nobody(line: bytes, tmp_path: Path) -> None:
    """It gets a refusal or nothing, and the next caller is served."""
    path = tmp_path / "control.sock"
    async with control_socket(path, echo):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        if not line.endswith(b"\n"):
            writer.write_eof()
        reply = await reader.read()
        assert reply == b"" or b"refused" in reply or reply == b'{"heard":{}}\n'
        writer.close()
        assert await asked(path, {"do": 1}) == {"heard": {"do": 1}}


async def test_callers_that_hang_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """Nor are there ever more of them than a few; the end comes at once."""
    path = tmp_path / "control.sock"
    calls: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    async with control_socket(path, echo):
        calls += [await asyncio.open_unix_connection(path) for _ in range(CALLERS_MAX + 5)]
        async with asyncio.timeout(DEADLINE_S):
            assert await calls[-1][0].read() == b""
    for _, writer in calls:
        writer.close()


async def test_a_bug_in_an_answer_ends_that_call_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on, and so does the socket; the traceback is in the log."""
    path = tmp_path / "control.sock"

    async def answer(request: dict[str, Any]) -> JsonObject:
        return {"heard": 1 // int(request["number"])}

    async with control_socket(path, answer):
        assert await asked(path, {"number": 0}) is None
        assert await asked(path, {"number": 1}) == {"heard": 1}
    assert "ZeroDivisionError" in caplog.text
