"""A Unix socket on which a running process answers whoever may write to its folder: a line of JSON asked, one answered.

Promises: the socket is the user's alone (0600); what a killed process left in its place is replaced; it works however
deep the folder lies and whatever file system it is on, as far as that can be had. A caller that hangs or talks nonsense
harms nobody. Knows no run: what the words mean is the handler's business.

An HTTP server would do the same with a quarter of a second and 9 MB more for each run, asked or not.

A socket's address has room for about a hundred bytes. A longer path is reached through a descriptor of its folder
(Linux). Where that does not work, or where the file system holds no sockets, the socket is in a folder of its own among
the temporary files, and a link to it stands in its place.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from tunemill.model import JsonObject

ADDRESS_BYTES_MAX = 100
LINE_BYTES_MAX = 65_536
CALLERS_MAX = 32
_PATIENCE_S = 10.0  # with a caller that does not finish its line, or does not read its answer
_TEMPORARY = "tunemill-"

Handler: TypeAlias = Callable[[dict[str, Any]], Awaitable[JsonObject]]


@contextlib.asynccontextmanager
async def control_socket(path: Path, answer: Handler) -> AsyncIterator[None]:
    """Answer at `path` while the context is open. To be opened by whoever holds the folder's lock.

    Raises OSError where no socket can be had.
    """
    remove_socket(path)
    callers: set[asyncio.Task[None]] = set()

    def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(callers) >= CALLERS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(_converse(reader, writer, answer), name="control")
        callers.add(task)
        task.add_done_callback(callers.discard)

    server = await asyncio.start_unix_server(called, sock=_listening(path), limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):  # on a disk that cannot be written it stays, and that is not what went wrong
            remove_socket(path)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


def ask(path: Path, request: JsonObject, *, timeout_s: float) -> dict[str, Any] | None:
    """Ask whoever answers at `path`; None where nobody does.

    Raises PermissionError, and TimeoutError where somebody listens and does not answer in time.
    """
    if path.is_symlink():
        path = path.readlink()
    try:
        with socket.socket(socket.AF_UNIX) as calling, _address_of(path) as address:
            calling.settimeout(timeout_s)
            calling.connect(address)
            calling.sendall(orjson.dumps(request) + b"\n")
            with calling.makefile("rb") as answer:
                reply: Any = orjson.loads(answer.readline())
    except (PermissionError, TimeoutError):
        raise
    except (OSError, orjson.JSONDecodeError):
        return None
    return reply if isinstance(reply, dict) else None


def remove_socket(path: Path) -> None:
    """Take away what stands at `path`, and where that is a link, the folder of the socket that it leads to."""
    if path.is_symlink():
        folder = path.readlink().parent
        if folder.name.startswith(_TEMPORARY) and folder.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(folder, ignore_errors=True)
    path.unlink(missing_ok=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Handler) -> None:
    """One line, one answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            request = _parsed(await reader.readline())
        reply: JsonObject = {"refused": "send one JSON object on a line"} if request is None else await answer(request)
        writer.write(orjson.dumps(reply) + b"\n")
        async with asyncio.timeout(_PATIENCE_S):
            await writer.drain()
    except (OSError, TimeoutError, ValueError):  # it is gone, it hangs, or its line has no end: that is its own affair
        pass
    finally:
        writer.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return request if isinstance(request, dict) else None


def _listening(path: Path) -> socket.socket:
    try:
        return _bound(path)
    except OSError:
        elsewhere = Path(tempfile.mkdtemp(prefix=_TEMPORARY)) / path.name
        try:
            listening = _bound(elsewhere)
            path.symlink_to(elsewhere)
        except OSError:
            shutil.rmtree(elsewhere.parent, ignore_errors=True)
            raise
        return listening


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listening.fileno(), 0o600)  # Linux makes the file with these, so that there is no moment before
        with _address_of(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(CALLERS_MAX)
        listening.setblocking(False)
    except OSError:
        listening.close()
        path.unlink(missing_ok=True)
        raise
    return listening


@contextlib.contextmanager
def _address_of(path: Path) -> Iterator[str]:
    """A name of the path that is short enough to be a socket's address."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
