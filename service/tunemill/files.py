"""What every part does to the file system: durable replacement, appending truncation, locking, hashes, limits.

A full disk or a read-only file system becomes `RunFolderUnwritable` here, so that no caller has to know errno.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tunemill.errors import RunFolderBusy, RunFolderUnwritable

_LOCK_PATIENCE_S = 0.2
_LOCK_POLL_S = 0.01
_UNWRITABLE = frozenset(
    getattr(errno, name)
    for name in ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENOENT", "ESTALE", "ENOTDIR", "EFBIG"]
)


def unwritable(path: Path, error: OSError) -> RunFolderUnwritable:
    """The one sentence for a file that cannot be written."""
    return RunFolderUnwritable(
        f"{path}: cannot be written ({error.strerror}); what was answered so far is safe: "
        "make room or mend the folder, then run again"
    )


@contextlib.contextmanager
def translating_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into `RunFolderUnwritable`."""
    try:
        yield
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise unwritable(path, error) from error
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder."""
    with translating_write_errors(path):
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115 - closed below
        temporary = Path(handle.name)
        try:
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content durably."""
    with replacing(path) as handle:
        handle.write(content)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """A file's SHA-256 as 64 hex digits, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Lock:
    """The run folder's lock: an advisory lock on a file that names its holder, released with the process."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        with translating_write_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take()
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        if not _locked_within(self._descriptor, _LOCK_PATIENCE_S):
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            raise RunFolderBusy(
                f"{self.path.parent}: in use by another tunemill (process {holder or 'unknown'}); wait for it, "
                "or stop it with Ctrl-C or SIGTERM"
            )
        with translating_write_errors(self.path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others write; harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _locked_within(descriptor: int, seconds: float) -> bool:
    """Whether the lock was had. Whoever asks `is_locked` holds it for an instant, which must not look like a writer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_POLL_S)
        else:
            return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def raise_open_files_limit(needed: int) -> int:
    """Raise the soft limit of open files to `needed` where the hard limit permits; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
