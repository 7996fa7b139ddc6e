"""`tunemill-health`: whether this container's run still answers. What the image's HEALTHCHECK starts, every 30 seconds.

    0   it answers, or there is nothing to ask: another command than `run`, or a run that is only starting or ending
    1   it is there and does not answer in time

A paused, waiting or draining run answers like any other: this says whether a process works, not how a run fares.
Runs are looked for in TUNEMILL_RUN_DIR and under runs/. Several containers may share that volume: the kernel tells the
process behind a socket, and one outside this container is somebody else's business.

Nothing is imported but what Python has at hand, because it is started so often, beside a run that wants the processor:
pathlib alone would be a third of the start-up.
"""

# ruff: noqa: PTH114, PTH115, PTH118, PTH120, PTH208

import json
import os
import socket
import struct
import sys
from collections.abc import Iterator

SECONDS_MAX = 8.0  # less than the engine waits, so that it is we who say what is wrong
_ADDRESS_BYTES_MAX = 100
_REPLY_BYTES_MAX = 1 << 20
_SOCKET = "control.sock"
_CREDENTIALS = struct.Struct("3i")  # process, user, group


def main() -> None:
    """The command."""
    for path in _sockets():
        told = _told_by(path)
        if told is None:
            continue
        is_healthy, words = told
        print(f"{path}: {words}")  # noqa: T201 - what `docker inspect` shows beside the exit code
        sys.exit(0 if is_healthy else 1)
    print("no run to ask")  # noqa: T201 - likewise
    sys.exit(0)


def _sockets() -> Iterator[str]:
    """Where a run of this container may listen."""
    folder = os.environ.get("TUNEMILL_RUN_DIR")
    if folder:
        yield os.path.join(folder, _SOCKET)
    try:
        names = sorted(os.listdir("runs"))
    except OSError:
        return
    for name in names:
        yield os.path.join("runs", name, _SOCKET)


def _told_by(path: str) -> tuple[bool, str] | None:
    """Whether the run behind a socket is healthy, and what it said; None where there is none of this container's."""
    with socket.socket(socket.AF_UNIX) as calling:
        calling.settimeout(SECONDS_MAX)
        try:
            _connect(calling, path)
            process, _, _ = _CREDENTIALS.unpack(
                calling.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        except TimeoutError:
            return False, f"took no call within {SECONDS_MAX:g} s"
        except OSError:
            return None
        if process == 0:
            return None
        try:
            calling.sendall(b'{"do":"status"}\n')
            status = json.loads(_line(calling))
            requests = status["requests"]
            return True, f"{status['state']}, {requests['completed']} of {requests['planned']} requests completed"
        except TimeoutError:
            return False, f"did not answer within {SECONDS_MAX:g} s"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return False, f"gave no answer ({error!r})"


def _connect(calling: socket.socket, path: str) -> None:
    """A socket that found no place in the folder is behind a link; a long path goes by way of its folder."""
    path = os.readlink(path) if os.path.islink(path) else path
    if len(os.fsencode(path)) <= _ADDRESS_BYTES_MAX:
        calling.connect(path)
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        calling.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
    finally:
        os.close(folder)


def _line(calling: socket.socket) -> bytes:
    reply = b""
    while not reply.endswith(b"\n") and len(reply) < _REPLY_BYTES_MAX:
        piece = calling.recv(65_536)
        if not piece:
            break
        reply += piece
    return reply


if __name__ == "__main__":
    main()
