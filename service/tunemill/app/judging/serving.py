"""A judging process: reads orders from its socket, carries them out one after the other, and answers.

Its life is its socket's: it ends when the process that builds closes it, or dies, whatever it is doing just then.
Signals that a terminal or a supervisor sends to everybody are that process's to answer.
"""

import contextlib
import gc
import os
import signal
import socket
import threading
from queue import SimpleQueue

from tunemill.app.judging import wire
from tunemill.app.judging.task import JudgePortion
from tunemill.journal import LineReader

_STDIN = 0
_BUFFER_BYTES = 1024 * 1024  # or what the system allows: answers wait there until somebody has time for them
# What is made here is no garbage until it is sent, and then hardly ever a circle.
_GARBAGE_THRESHOLDS = (50_000, 10, 100)


def main() -> None:
    """Serve the socket that is our standard input, until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    with contextlib.suppress(OSError):  # nobody is there any more
        _serve(socket.socket(fileno=_STDIN))


def _serve(link: socket.socket) -> None:
    first = wire.receive_frame(link)
    if first is None:
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    task = wire.task_from(first)
    judge = task.judge_with(LineReader(task.journal))
    orders: SimpleQueue[bytes] = SimpleQueue()
    # Whoever sends never waits for somebody who waits for them.
    threading.Thread(target=_receive, args=(link, orders), daemon=True).start()
    wire.send_frame(link, wire.READY)
    while True:
        wire.send_frame(link, _answer(judge, orders.get()))


def _receive(link: socket.socket, orders: SimpleQueue[bytes]) -> None:
    with contextlib.suppress(OSError):
        while (order := wire.receive_frame(link)) is not None:
            orders.put(order)
    os._exit(0)  # nothing here is worth an orderly end


def _answer(judge: JudgePortion, order: bytes) -> bytes:
    try:
        return wire.judged_bytes(judge(*wire.order_from(order)))
    except Exception:
        # Whatever it is (a damaged line, a segment that was compressed meanwhile, too little memory): the process that
        # builds meets it, too, and says it, or does not.
        return wire.FAILED
