"""Starts the command or the simulator without loading anything anew: a process that has everything loaded forks it.

Starting Python and loading all modules is most of what a short run costs, and no test is about it but those that start
the installed command. All workers of a session share one such process; it is started by the first that needs it. Where
there is no session, or the system has no such sockets, processes are started as ever.
"""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

VARIABLE = "TUNEMILL_TEST_WARM"
READY = b"ready\n"
ORDER_BYTES_MAX = 128 * 1024
Stream = int | IO[bytes] | None
_ROOT = Path(__file__).parents[2]
_COLD = {
    "tunemill": [str(Path(sys.executable).with_name("tunemill"))],
    "tunemill.local": [sys.executable, "-m", "tunemill.local"],
}


def begin_session() -> None:
    """Say where the process of this session will be found; workers inherit it."""
    if sys.platform == "linux":
        folder = tempfile.mkdtemp(prefix="tunemill-warm-")
        os.environ[VARIABLE] = f"{os.getpid()}:{folder}"


def end_session() -> None:
    """Remove what is left of it. The process ends with the session's own."""
    owner, _, folder = os.environ.get(VARIABLE, "").partition(":")
    if owner == str(os.getpid()):
        for path in Path(folder).iterdir():
            path.unlink()
        Path(folder).rmdir()


def popen(
    program: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
) -> subprocess.Popen[bytes]:
    """Start `tunemill`, `tunemill.local`, or any other module as a program; to be used as any other child."""
    start = _Forked if VARIABLE in os.environ else cold
    return start(program, *arguments, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)


def cold(program: str, *arguments: str, env: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """As `popen`, by loading everything anew."""
    words = _COLD.get(program, [sys.executable, "-m", program])
    return subprocess.Popen([*words, *arguments], env=env, **{"stdin": subprocess.DEVNULL, **more})


class _Forked(subprocess.Popen[bytes]):
    """A child of the warm process. Pipes and all that is done with them are Popen's; how it starts and ends is not."""

    _keeper: socket.socket | None = None

    def __init__(self, *words: str, **more: Any) -> None:
        super().__init__(words, **more)

    def _execute_child(
        self, args: Sequence[str], executable: Any, before: Any, close: Any, keep: Any, cwd: Any, env: Any, *more: Any
    ) -> None:
        streams: tuple[int, ...] = more[3:9]
        theirs = (streams[0], streams[3], streams[5])
        order = {"program": args[0], "arguments": args[1:], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        self._keeper = _connected()
        descriptors = [number if given == -1 else given for number, given in enumerate(theirs)]
        socket.send_fds(self._keeper, [json.dumps(order).encode()], descriptors)
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined] # as Popen's own does
        self.pid = json.loads(self._keeper.recv(ORDER_BYTES_MAX))["pid"]
        self._child_created = True

    def poll(self) -> int | None:
        """The exit code, or None while it lives."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, after at most so many seconds. Raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self.poll()

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._keeper is not None:
            self._keeper.settimeout(None if timeout is None else max(0.0, timeout))
            with contextlib.suppress(TimeoutError, BlockingIOError):
                said = self._keeper.recv(ORDER_BYTES_MAX)
                assert said, "nobody keeps the child any more"
                self.returncode = json.loads(said)["code"]
                self._keeper.close()
        return self.returncode


def _connected() -> socket.socket:
    """To the warm process, which is there from now on if it was not."""
    owner, _, folder = os.environ[VARIABLE].partition(":")
    path = Path(folder) / "socket"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (Path(folder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _start(path, owner)
        connection.connect(str(path))
    return connection


def _start(path: Path, owner: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_process", str(path), owner],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read(len(READY))
    assert said == READY, f"it ended with {process.wait()} before it was ready; see stderr"
    process.returncode = 0  # it outlives this worker, and nobody waits for it
