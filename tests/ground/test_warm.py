"""Children that are forked from the warm process are to whoever starts them what any other child is."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import warm

Start = Callable[..., "subprocess.Popen[bytes]"]
PIPE = subprocess.PIPE


def ended(start: Start, *words: str, cwd: Path) -> tuple[int, bytes, bytes]:
    """Exit code, output and talk."""
    with start("tunemill", *words, cwd=cwd, env=os.environ, stdout=PIPE, stderr=PIPE) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out, err


@pytest.mark.parametrize("words", [["--version"], ["status", "nowhere"]])
def test_it_says_and_ends_as_a_process_of_its_own_does(words: list[str], tmp_path: Path) -> None:
    """Exit code, stdout and stderr."""
    assert ended(warm.popen, *words, cwd=tmp_path) == ended(warm.cold, *words, cwd=tmp_path)


def test_it_works_where_it_is_told_to_and_sees_only_what_it_is_given(tmp_path: Path) -> None:
    """Its folder, its environment and its input."""
    with warm.popen("tests.ground.telling", "word", cwd=tmp_path, env={"ONE": "1"}, stdin=PIPE, stdout=PIPE) as process:
        out, _ = process.communicate(b"said", timeout=100)
    told = json.loads(out)
    assert told == {"folder": str(tmp_path), "environment": {"ONE": "1"}, "words": ["word"], "input": "said"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_it_can_be_waited_for_and_killed(number: signal.Signals, tmp_path: Path) -> None:
    """By its own process id; the code is the signal's."""
    with warm.popen("tunemill", "serve", "--port", "0", cwd=tmp_path, env=os.environ, stdout=PIPE) as process:
        assert process.stdout is not None
        assert b"base_url" in process.stdout.readline()
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0)
        process.send_signal(number)
        process.kill()
        assert process.wait(timeout=100) == -signal.SIGKILL
        assert process.poll() == -signal.SIGKILL
        assert not Path(f"/proc/{process.pid}").exists()
