"""Durable replacement, the lock, hashes and the limit of open files, on a real file system and with real processes."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tunemill.errors import RunFolderBusy, RunFolderUnwritable
from tunemill.files import (
    Lock,
    is_locked,
    raise_open_files_limit,
    replacing,
    sha256_of,
    translating_write_errors,
    write_whole,
)


def child(code: str, *args: str) -> subprocess.Popen[str]:
    """A Python process that runs `code`, with pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


# -- replacing -------------------------------------------------------------------------------------------------------


def test_an_exception_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    """Half of a new file is never seen, and nothing is left beside the old one."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with replacing(path) as handle:
            handle.write(b"half of the n")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_kill_9_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    """The process that was writing is gone without any clean-up; the file is the old one, whole."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"old")
    code = (
        "import sys; from pathlib import Path; from tunemill.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as handle:\n"
        "    handle.write(b'new' * 100_000); handle.flush(); print('half way'); sys.stdin.read()"
    )
    with child(code, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        process.kill()
    assert path.read_bytes() == b"old"


def test_readers_see_the_old_or_the_new_and_nothing_between(tmp_path: Path) -> None:
    """While a file is replaced over and over, whoever opens it finds one whole content."""
    path = tmp_path / "report.json"
    contents = {bytes([letter]) * 50_000 for letter in b"ab"}
    write_whole(path, min(contents))
    done = threading.Event()

    def replace_often() -> None:
        for _ in range(20):
            for content in contents:
                write_whole(path, content)
        done.set()

    writer = threading.Thread(target=replace_often)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()


def test_a_new_file_can_be_read_by_others(tmp_path: Path) -> None:
    """Not with the private mode that temporary files are made with."""
    write_whole(tmp_path / "a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG])
def test_what_a_full_disk_says_is_one_error(number: int) -> None:
    """The file is named, and what to do."""
    message = r"train\.jsonl: cannot be written .*make room"
    with (
        pytest.raises(RunFolderUnwritable, match=message) as caught,
        translating_write_errors(Path("train.jsonl")),
    ):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, OSError)


def test_a_folder_that_is_gone_is_unwritable(tmp_path: Path) -> None:
    """Somebody removed the run folder."""
    with pytest.raises(RunFolderUnwritable):
        write_whole(tmp_path / "gone" / "file", b"x")


def test_other_errors_stay_what_they_are() -> None:
    """A bug is not called a full disk."""
    with pytest.raises(OSError, match="Bad file"), translating_write_errors(Path("x")):
        raise OSError(errno.EBADF, "Bad file descriptor")


# -- the lock --------------------------------------------------------------------------------------------------------

HOLD = (
    "import sys; from pathlib import Path; from tunemill.files import Lock\n"
    "lock = Lock(Path(sys.argv[1])); print('held'); sys.stdin.read()"
)


def test_a_second_process_is_kept_out_and_told_who_holds_it(tmp_path: Path) -> None:
    """RunFolderBusy names the holder; when the holder is killed, the lock is free at once."""
    path = tmp_path / "lock"
    with child(HOLD, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(RunFolderBusy, match=rf"in use by another tunemill \(process {process.pid}\)"):
            Lock(path)
        assert path.read_text() == f"{process.pid}\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_locked(path)
    lock = Lock(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_is_released_once_and_for_all(tmp_path: Path) -> None:
    """Releasing twice closes nobody else's file."""
    lock = Lock(tmp_path / "lock")
    lock.release()
    with (tmp_path / "other").open("wb") as other:  # takes the descriptor that the lock had
        lock.release()
        other.write(b"x")
    assert not is_locked(tmp_path / "lock")


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    """A folder in which nothing ever ran."""
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_whoever_asks_keeps_no_writer_out(tmp_path: Path) -> None:
    """A dashboard that asks all the time whether somebody writes does not make a starting run fail."""
    path = tmp_path / "lock"
    path.touch()
    code = (
        "import sys, threading; from pathlib import Path; from tunemill.files import is_locked\n"
        "over = threading.Event(); threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()\n"
        "for _ in range(1000): is_locked(Path(sys.argv[1]))\n"
        "print('asking')\n"
        "while not over.is_set(): is_locked(Path(sys.argv[1]))"
    )
    with child(code, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        for _ in range(2000):
            Lock(path).release()
        process.communicate()


def test_a_lock_on_a_full_disk_is_unwritable_and_free_again(tmp_path: Path) -> None:
    """Where not even the holder's number can be written, the error is the one for a full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from tunemill.files import Lock, is_locked\n"
        "from tunemill.errors import RunFolderUnwritable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try: Lock(Path(sys.argv[1]))\n"
        "except RunFolderUnwritable: print('unwritable', is_locked(Path(sys.argv[1])))"
    )
    with child(code, str(tmp_path / "lock")) as process:
        assert process.communicate()[0] == "unwritable False\n"


# -- the rest --------------------------------------------------------------------------------------------------------


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    """Also of a file larger than one read."""
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    """Up to what is needed, never above the hard limit, and never lowered. In a child: it holds for a process."""
    code = (
        "import resource; from tunemill.files import raise_open_files_limit as rise\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "print(rise(200), rise(50), rise(1000), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    with child(code) as process:
        assert process.communicate()[0] == "200 200 300 (300, 300)\n"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raise_open_files_limit(1) == soft
