"""The server as a child process: started, awaited, and never left behind.

It runs in a process group of its own, so that Ctrl-C on the terminal reaches only the parent, which stops it when it is
done; and it ends by itself when its standard input ends, so a parent that is killed takes it along.
"""

import asyncio
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from tunemill.local.arguments import PROGRAM

READY_DEADLINE_S = 60.0  # loading a model from a slow disk takes a while
STOP_DEADLINE_S = 5.0
_STDERR_SHOWN = 4000  # characters
_MISTAKE = 2  # the exit status of a server that was asked for what it cannot do


class LocalServerFailed(Exception):
    """The server did not get ready. The message carries what it said on stderr."""


class LocalServerChild:
    """`with LocalServerChild(["--backend", "llama"]) as server:` or `async with`; then `base_url` and `model` are set.

    `args` are those of `python -m tunemill.local`; without `--port` a free one is taken. Raises `LocalServerFailed`
    where it is not ready within `ready_deadline_s` seconds.
    """

    def __init__(self, args: Sequence[str], *, ready_deadline_s: float = READY_DEADLINE_S) -> None:
        port = () if any(arg.split("=")[0] == "--port" for arg in args) else ("--port", "0")
        self._command = (sys.executable, "-m", "tunemill.local", *port, *args, "--exit-with-parent")
        self._ready_deadline_s = ready_deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self.base_url = ""
        self.backend = ""
        self.model = ""

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def __enter__(self) -> Self:
        self._stderr = _temporary_file()  # open as long as the child writes to it
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module; no shell
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        try:
            ready = json.loads(self._first_line())
            self.base_url, self.backend, self.model = ready["base_url"], ready["backend"], ready["model"]
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be cancelled. It ends soon either way; what it started must not stay.
            with contextlib.suppress(LocalServerFailed):
                await starting
            self.stop()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """End the server, by force after a few seconds. Does nothing where it has already been stopped."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _first_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._ready_deadline_s
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise LocalServerFailed(f"not ready after {self._ready_deadline_s:g} s{self._said()}")
                piece = os.read(self._process.stdout.fileno(), 4096)
                if not piece:
                    raise self._failed(self._process.wait())
                line += piece
        return line

    def _failed(self, status: int) -> LocalServerFailed:
        """A server that knows why it cannot start has said so in one message, which is enough."""
        said = self._stderr_text()
        if status == _MISTAKE and said:
            return LocalServerFailed(said.removeprefix(f"{PROGRAM}: "))
        return LocalServerFailed(f"ended with status {status} before it was ready{self._said()}")

    def _said(self) -> str:
        said = self._stderr_text()
        return f"; it said: {said[-_STDERR_SHOWN:]}" if said else "; it said nothing"

    def _stderr_text(self) -> str:
        assert self._stderr is not None
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip()


def _temporary_file() -> IO[bytes]:
    """Where the child's stderr goes. Raises LocalServerFailed where there is no place for it."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise LocalServerFailed(f"{error.strerror}; let /tmp be writable, or set TMPDIR to a folder that is") from error
