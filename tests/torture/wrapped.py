"""The operating system's calls with something around them: every write, fsync, rename, truncation and removal in one
folder, and every piece of bytes that leaves or comes through a socket, is a point at which a test may strike.

Installed in a child process, before the code under test is loaded; that code knows nothing of it. What SQLite writes
(a cache that is checked and made anew) is not seen, as it does not go through Python.
"""

import builtins
import io
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

_TEMPORARY = re.compile(r"(\.[a-z0-9_.-]+)\.[a-z0-9_]{8}$")
_VERB = re.compile(rb"(GET|POST|DELETE) (\S+)")


class When(Enum):
    """A strike comes before a call, after it, or when half of its bytes are through."""

    BEFORE = "before"
    HALF = "half"
    AFTER = "after"


class Strike(Protocol):
    """Told of each point as it comes: it may return, raise an OSError (where the call is not through) or end the
    process. `name` says what is done to what."""

    def __call__(self, name: str, when: When) -> None: ...


class Watch(Protocol):
    """See `power.Disk`."""

    def before_write(self, descriptor: int, path: Path) -> None: ...
    def synced(self, descriptor: int, path: Path) -> None: ...
    def created(self, path: Path) -> None: ...
    def before_replace(self, source: Path, target: Path) -> None: ...
    def before_unlink(self, path: Path) -> None: ...


class Wrapped:
    """See the module. `root` is the folder whose files are watched, as an absolute path."""

    def __init__(self, root: Path, strike: Strike, disk: Watch) -> None:
        self._root = root
        self._strike = strike
        self._disk = disk
        # One change at a time: between losing the power and dying, nobody else is to write.
        self._lock = threading.RLock()
        self._paths: dict[int, Path] = {}
        self._said: dict[int, str] = {}
        self._real = {name: getattr(os, name) for name in ("open", "close", "write", "pwrite", "fsync", "ftruncate")}
        self._real_open = io.open

    def install(self) -> None:
        """From now on, until the process ends."""
        wrapped: dict[str, Callable[..., Any]] = {
            "open": self._os_open,
            "close": self._os_close,
            "write": self._os_write,
            "pwrite": self._os_pwrite,
            "fsync": self._os_fsync,
            "ftruncate": self._os_ftruncate,
            "truncate": self._around(os.truncate, "truncate", self._before_truncate),
            "replace": self._around(os.replace, "replace", self._before_replace),
            "rename": self._around(os.rename, "replace", self._before_replace),
            "unlink": self._around(os.unlink, "unlink", self._before_unlink),
            "remove": self._around(os.remove, "unlink", self._before_unlink),
        }
        for name, call in wrapped.items():
            setattr(os, name, call)
        io.open = builtins.open = self._io_open
        sys.modules["uvloop"] = None  # type: ignore[assignment] # its sockets are not Python's, and would not be seen
        for name in ("send", "sendall", "sendmsg"):
            setattr(socket.socket, name, self._sending(getattr(socket.socket, name)))
        socket.socket.recv = self._receiving(socket.socket.recv)  # type: ignore[method-assign]

    # -- files by number -----------------------------------------------------------------------------------------

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        watched = self._watched(path)
        if watched is None:
            descriptor: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            return descriptor
        with self._lock:
            is_new = bool(flags & os.O_CREAT) and not os.path.lexists(watched)
            name = f"create {self._name(watched)}"
            if is_new:
                self._strike_named(name, watched)
            descriptor = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            self._paths[descriptor] = watched
            if is_new:
                self._disk.created(watched)
                self._strike(name, When.AFTER)
            return descriptor

    def _os_close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        self._real["close"](descriptor)

    def _os_write(self, descriptor: int, data: Any) -> int:
        path = self._paths.get(descriptor)
        if path is None:
            return int(self._real["write"](descriptor, data))
        return self._written(descriptor, path, data, lambda piece: self._real["write"](descriptor, piece))

    def _os_pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        path = self._paths.get(descriptor)
        if path is None:
            return int(self._real["pwrite"](descriptor, data, offset))
        return self._written(descriptor, path, data, lambda piece: self._real["pwrite"](descriptor, piece, offset))

    def _written(self, descriptor: int, path: Path, data: Any, write: Callable[[Any], int]) -> int:
        """Half of it may be through when the end comes; fewer bytes than were given may be taken."""
        with self._lock:
            name = f"write {self._name(path)}"
            self._strike(name, When.BEFORE)
            self._disk.before_write(descriptor, path)
            view = memoryview(data).cast("B")
            done = write(view[: len(view) // 2]) if len(view) > 1 else 0
            if done and not self._struck_half(name):
                return done
            done += write(view[done:])
            self._strike(name, When.AFTER)
            return done

    def _strike_named(self, name: str, path: Path) -> None:
        """Before a call that is given a name: its errors carry the name, as the operating system's do."""
        try:
            self._strike(name, When.BEFORE)
        except OSError as error:
            error.filename = str(path)
            raise

    def _struck_half(self, name: str) -> bool:
        """Whether the other half may be written too. A disk that is full by then says so at the next call."""
        try:
            self._strike(name, When.HALF)
        except OSError:
            return False
        return True

    def _os_fsync(self, descriptor: int) -> None:
        path = self._paths.get(descriptor)
        if path is None:
            self._real["fsync"](descriptor)
            return
        with self._lock:
            name = f"fsync {self._name(path)}"
            self._strike(name, When.BEFORE)
            self._real["fsync"](descriptor)
            self._disk.synced(descriptor, path)
            self._strike(name, When.AFTER)

    def _os_ftruncate(self, descriptor: int, length: int) -> None:
        path = self._paths.get(descriptor)
        with self._lock:
            if path is not None:
                self._strike(f"truncate {self._name(path)}", When.BEFORE)
            self._real["ftruncate"](descriptor, length)
            if path is not None:
                self._strike(f"truncate {self._name(path)}", When.AFTER)

    # -- files by name -------------------------------------------------------------------------------------------

    def _around(self, call: Callable[..., Any], verb: str, before: Callable[..., None]) -> Callable[..., Any]:
        def around(path: Any, *args: Any, **more: Any) -> Any:
            watched = None if isinstance(path, int) else self._watched(path)
            if watched is None or not os.path.lexists(watched):
                return call(path, *args, **more)
            with self._lock:
                name = f"{verb} {self._name(self._watched(args[0]) or watched if verb == 'replace' else watched)}"
                self._strike_named(name, watched)
                before(watched, *args)
                done = call(path, *args, **more)
                self._strike(name, When.AFTER)
                return done

        return around

    def _before_truncate(self, path: Path, length: int) -> None:
        """A cut is taken to be durable: what it takes away was torn, and would be taken away again."""

    def _before_replace(self, source: Path, target: Any) -> None:
        self._disk.before_replace(source, Path(target).absolute())

    def _before_unlink(self, path: Path) -> None:
        self._disk.before_unlink(path)

    def _io_open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> Any:
        is_ours = not isinstance(file, int) and self._watched(file) is not None
        if not is_ours:
            return self._real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(self, file, mode.replace("b", "").replace("t", ""), opener or _opened)
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering
        buffered: Any
        if "+" in mode:
            buffered = io.BufferedRandom(raw, size)
        elif "r" in mode:
            buffered = io.BufferedReader(raw, size)
        else:
            buffered = io.BufferedWriter(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _watched(self, path: Any) -> Path | None:
        absolute = Path(os.fsdecode(path)).absolute()
        return absolute if absolute == self._root or self._root in absolute.parents else None

    def _name(self, path: Path) -> str:
        """Under the folder, and the same from run to run."""
        relative = "." if path == self._root else str(path.relative_to(self._root))
        return _TEMPORARY.sub(r"\1.new", relative)

    # -- sockets -------------------------------------------------------------------------------------------------

    def _sending(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def sending(of: socket.socket, data: Any, *args: Any) -> Any:
            if of.family not in (socket.AF_INET, socket.AF_INET6):
                return send(of, data, *args)
            with self._lock:
                name = self._name_of_bytes(of, data)
                self._strike(name, When.BEFORE)
                done = send(of, data, *args)
                self._strike(name, When.AFTER)
                return done

        return sending

    def _receiving(self, receive: Callable[..., bytes]) -> Callable[..., bytes]:
        def receiving(of: socket.socket, *args: Any) -> bytes:
            came = receive(of, *args)
            if came and of.family in (socket.AF_INET, socket.AF_INET6):
                with self._lock:
                    self._strike(f"receive {self._said.get(of.fileno(), 'more')}", When.AFTER)
            return came

        return receiving

    def _name_of_bytes(self, of: socket.socket, data: Any) -> str:
        first = bytes(data[0]) if isinstance(data, list | tuple) else bytes(data)
        verb = _VERB.match(first)
        if verb is None:
            return f"send more of {self._said.get(of.fileno(), 'something')}"
        path = re.sub(rb"(file|ftjob|job)[-_][A-Za-z0-9_-]+", b"ID", verb[2].partition(b"?")[0])
        said = self._said[of.fileno()] = f"{verb[1].decode()} {path.decode()}"
        return f"send {said}"


class _Raw(io.FileIO):
    """A file whose writes go through the wrapped `os.write`, whatever buffers are above it."""

    def __init__(self, owner: Wrapped, file: Any, mode: str, opener: Callable[[str, int], int]) -> None:
        self._owner = owner
        super().__init__(file, mode, opener=opener)

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length

    def close(self) -> None:
        if not self.closed:
            self._owner._paths.pop(self.fileno(), None)
        super().close()


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o666)
