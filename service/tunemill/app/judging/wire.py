"""What is said between the process that builds and those that judge: frames of a length and so many bytes.

Both are the same program, started from the same interpreter a moment ago, and the one trusts the other: the task is
pickled, and all that follows is plain values in the interpreter's own format, which takes a third of the time.
"""

import marshal
import pickle
import socket
import struct
from typing import Any

from tunemill.app.candidates import Portion
from tunemill.app.judging.task import Task
from tunemill.dataset import Judged, LeftOut, Limits, Ready

READY = b"ready"
FAILED = b""  # in the place of what was judged: whoever asked has to do it
_LENGTH = struct.Struct("<Q")
_READY_FIELDS = len(Ready._fields)


def send_frame(link: socket.socket, content: bytes) -> None:
    """Raises OSError where nobody is there any more."""
    link.sendall(_LENGTH.pack(len(content)) + content)


def receive_frame(link: socket.socket) -> bytes | None:
    """The next one; None where the other side is gone."""
    head = _receive(link, _LENGTH.size)
    return None if head is None else _receive(link, _LENGTH.unpack(head)[0])


def _receive(link: socket.socket, size: int) -> bytes | None:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        received = link.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return bytes(content)


def task_bytes(task: Task) -> bytes:
    """The first frame."""
    return pickle.dumps(task)


def task_from(content: bytes) -> Task:
    """From our own parent's bytes."""
    task = pickle.loads(content)  # noqa: S301 - whoever started us sent it
    assert isinstance(task, Task)
    return task


def order_bytes(portion: Portion, limits: Limits) -> bytes:
    """A portion to be judged."""
    plain: Any = (portion.rows, portion.answered, limits.examples, limits.rejects)
    return marshal.dumps(plain)


def order_from(content: bytes) -> tuple[Portion, Limits]:
    """What `order_bytes` was given."""
    rows, answered, examples, rejects = marshal.loads(content)  # noqa: S302 - as above
    return Portion(rows=rows, answered=answered), Limits(examples=examples, rejects=rejects)


def judged_bytes(judged: Judged) -> bytes:
    """The answer to an order. Raises ValueError for values that are not plain."""
    plain: Any = ([tuple(record) for record in judged.records], judged.finish_reasons)
    return marshal.dumps(plain)


def judged_from(content: bytes) -> Judged:
    """What `judged_bytes` was given."""
    records, finish_reasons = marshal.loads(content)  # noqa: S302 - as above
    return Judged(
        records=[Ready._make(record) if len(record) == _READY_FIELDS else LeftOut._make(record) for record in records],
        finish_reasons=finish_reasons,
    )
