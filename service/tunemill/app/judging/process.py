"""One judging process as the process that builds sees it: started, used, and never left behind."""

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from tunemill.app.candidates import Portion
from tunemill.app.judging import wire
from tunemill.app.judging.task import Task
from tunemill.dataset import Judged, Limits

ORDERS_MAX: Final = 5  # so that it does not wait for the next while thousands of rows are looked up
_CANDIDATES_MIN: Final = 50_000  # a process needs as long to start as a build for some thousands
_PROCESSES_MAX: Final = 2  # each takes memory, and with more of them they would only wait for who has them judge


class JudgeProcess:
    """Takes orders and gives back what came of each, in order. One that is lost, or that never came to be, takes none
    and has nothing to give for those that it had."""

    def __init__(self, task: Task) -> None:
        self._link, theirs = socket.socketpair()
        self._has_greeted = False
        self._is_lost = False
        self._orders = 0
        self._process: subprocess.Popen[bytes] | None = None
        with theirs:
            try:
                self._process = _spawn(theirs)
                wire.send_frame(self._link, wire.task_bytes(task))
            except OSError:
                self._is_lost = True

    @property
    def pid(self) -> int | None:
        """Its process id, where it was started."""
        return None if self._process is None else self._process.pid

    @property
    def has_room(self) -> bool:
        """Whether it takes another order."""
        return self._orders < ORDERS_MAX and self.is_there(0)

    def is_there(self, seconds: float) -> bool:
        """Whether it has said that it is ready, within so many seconds, and was not lost since."""
        if not self._has_greeted and not self._is_lost and self._is_readable(seconds):
            self._has_greeted = self._receive() is not None
        return self._has_greeted and not self._is_lost

    def send(self, portion: Portion, limits: Limits) -> None:
        """Another order."""
        assert self.has_room, "it was asked"
        self._orders += 1
        try:
            wire.send_frame(self._link, wire.order_bytes(portion, limits))
        except OSError:
            self._is_lost = True

    def is_done(self, seconds: float) -> bool:
        """Whether the first of its orders is done, or never will be, within so many seconds."""
        assert self._orders, "it has something to do"
        return self._is_lost or self._is_readable(seconds)

    def take(self) -> Judged | None:
        """What came of the first of its orders, when it is done; None where nothing did."""
        self._orders -= 1
        content = None if self._is_lost else self._receive()
        return wire.judged_from(content) if content else None

    def hang_up(self) -> None:
        """Tell it that nobody wants anything more."""
        self._link.close()

    def end(self) -> None:
        """By force: it has nothing that would be lost."""
        self.hang_up()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _is_readable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def _receive(self) -> bytes | None:
        content = None
        with contextlib.suppress(OSError):
            content = wire.receive_frame(self._link)
        self._is_lost = content is None
        return content


@contextlib.contextmanager
def judge_processes(task: Task, number: int) -> Iterator[Sequence[JudgeProcess]]:
    """So many, which end with the block."""
    with contextlib.ExitStack() as ending:
        processes = []
        for _ in range(number):
            processes.append(JudgeProcess(task))
            ending.callback(processes[-1].end)
        yield processes


def processes_worth(candidates: int, *, cores: int) -> int:
    """How many should judge beside the process that builds, which does its part on one of so many cores."""
    return min(_PROCESSES_MAX, cores - 1) if candidates >= _CANDIDATES_MIN else 0


def _spawn(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    # It finds what we find, and not what happens to lie in the working directory (-P).
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(  # our own interpreter and module; no shell
        (sys.executable, "-P", "-m", "tunemill.app.judging"),
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # what it cannot do is done here again, and then said
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C on the terminal reaches only us
    )
