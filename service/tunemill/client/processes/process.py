"""One executor process as the brain sees it: started, used, and never left behind.

It runs in a session of its own, so that Ctrl-C on the terminal reaches only the brain; and it ends by itself when its
socket does, so that a brain that is killed takes it along.
"""

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from tunemill.client.processes import messages
from tunemill.client.processes.link import Item, Link
from tunemill.client.processes.messages import NO_HINTS
from tunemill.client.reach import Reach
from tunemill.clock import Clock, Timer
from tunemill.errors import ExecutorsFailed
from tunemill.model import Failure, FailureKind, Reply, Request, Undelivered

READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 8.0  # it ends itself sooner
OVERDUE_S = 10.0  # the deadline of an attempt is kept over there, so that here it only has to be kept at all
_STDERR_SHOWN = 400  # characters


@dataclass(slots=True)
class _Waiting:
    """An attempt that is over there, to whom, and when it should have been back."""

    reply: asyncio.Future[Reply]
    to: tuple[str, str]  # provider and model
    timeout_s: float
    until: float


class ExecutorProcess:
    """`lost` is called at once when it is gone or has stopped working, before anybody is told what became of attempts.

    Owned by one task, which calls `start`, then waits for `is_lost`, then calls `end`, come what may.
    """

    def __init__(
        self, providers: Mapping[str, Reach], *, clock: Clock, lost: Callable[["ExecutorProcess"], None]
    ) -> None:
        self.is_lost = asyncio.Event()
        self._providers = providers
        self._clock = clock
        self._told_lost = lost
        self._is_ready = asyncio.Event()  # or never will be
        self._has_greeted = False
        self._link = Link(receive=self._receive, lost=self._lost)
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._numbers = 0
        self._waiting: dict[int, _Waiting] = {}
        self._watch: Timer | None = None
        self._was_overdue = False

    @property
    def in_flight(self) -> int:
        """Attempts that it works on."""
        return len(self._waiting)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    async def start(self) -> None:
        """Return when it can be sent to. Raises ExecutorsFailed where it cannot be brought to that."""
        try:
            with _pair() as (ours, theirs):
                self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as it is written to
                self._process = _spawn(theirs, self._stderr)
                await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=ours)
        except OSError as error:
            raise ExecutorsFailed(f"an executor process cannot be started ({error.strerror})") from error
        self._link.post(messages.greeting(self._providers))
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                await self._is_ready.wait()
        except TimeoutError:
            raise ExecutorsFailed(f"an executor process was not ready within {READY_DEADLINE_S:g} s") from None
        if self.is_lost.is_set():
            raise ExecutorsFailed(f"an executor process {await self._reaped()} before it was ready{self._said()}")
        self._look()

    async def send(self, provider: str, request: Request, timeout_s: float) -> Reply:
        """One attempt over there."""
        self._numbers += 1
        number = self._numbers
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        to, until = (provider, request.lane.model), self._clock.monotonic() + timeout_s + OVERDUE_S
        self._waiting[number] = _Waiting(reply, to, timeout_s, until)
        self._link.post(*messages.attempt(number, provider, request, timeout_s))
        try:
            return await reply
        except asyncio.CancelledError:
            if self._waiting.pop(number, None) is not None:
                self._link.post(messages.cancelled(number))
            raise

    def be_patient(self, provider: str, model: str, *, is_patient: bool) -> None:
        """Whether it shall wait for what is under way to a model for as long as it takes."""
        now = self._clock.monotonic()
        for waiting in self._waiting.values():
            if waiting.to == (provider, model) and (is_patient or waiting.until == math.inf):
                waiting.until = math.inf if is_patient else now + waiting.timeout_s + OVERDUE_S
        self._link.post(messages.patience(provider, model, is_patient=is_patient))

    def close(self) -> None:
        """Let it end; it is lost then."""
        self._link.close()

    async def end(self) -> str:
        """Return when it is gone, by force if it has to be, and everybody knows who waited; how it ended, in words."""
        try:
            self._link.close()
            if self._process is None:
                return "was not started"
            if not self._has_greeted:
                self._process.kill()  # it would first load all that it no longer needs
            ended = await self._reaped()
            self._fail_waiting(f"the executor process {ended} before the answer came")
            return ended + self._said()
        finally:
            self._leave_nothing()

    # -- its socket ----------------------------------------------------------------------------------------------

    def _receive(self, items: Sequence[Item], payload: memoryview) -> None:
        if not self._has_greeted:
            self._has_greeted = True
            self._is_ready.set()
            items = items[1:]
        for number, reply in messages.read_replies(items, payload):
            waiting = self._waiting.pop(number, None)
            if waiting is not None and not waiting.reply.done():
                waiting.reply.set_result(reply)

    def _lost(self) -> None:
        self.is_lost.set()
        self._is_ready.set()
        self._told_lost(self)

    def _look(self) -> None:
        """Whether it still works: one that twice in a row is found not to keep deadlines is ended by force. Twice,
        because both of us may have been stopped for a while."""
        now = self._clock.monotonic()
        is_overdue = any(waiting.until < now for waiting in self._waiting.values())
        if is_overdue and self._was_overdue and self._process is not None:
            self._process.kill()
            return
        self._was_overdue = is_overdue
        self._watch = self._clock.call_later(OVERDUE_S / 4, self._look)

    # -- its end -------------------------------------------------------------------------------------------------

    async def _reaped(self) -> str:
        assert self._process is not None, "it was not started"
        try:
            status = await asyncio.to_thread(self._process.wait, STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = await asyncio.to_thread(self._process.wait)
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _fail_waiting(self, message: str) -> None:
        waiting, self._waiting = self._waiting, {}
        failure = Failure(kind=FailureKind.DISCONNECTED, message=message, may_be_billed=True)
        for each in waiting.values():
            if not each.reply.done():
                each.reply.set_result(Undelivered(failure=failure, hints=NO_HINTS))

    def _leave_nothing(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._link.abort()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._stderr is not None:
            self._stderr.close()

    def _said(self) -> str:
        """The last line that it wrote to stderr, without keys: of a traceback that is what is the matter."""
        assert self._stderr is not None
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        for reach in self._providers.values():
            text = text.replace(reach.api_key, "[key]")
        return f"; it said: {text.splitlines()[-1][:_STDERR_SHOWN]}" if text else ""


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets. The second is closed at the end, as it is the other process's; so is the first after a
    mistake."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            yield ours, theirs
        except BaseException:
            ours.close()
            raise


def _spawn(theirs: socket.socket, stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
    # It finds what we find, and not what happens to lie in the working directory (-P).
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(  # our own interpreter and module; no shell
        (sys.executable, "-P", "-m", "tunemill.client.processes"),
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
