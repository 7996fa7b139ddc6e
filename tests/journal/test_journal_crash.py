"""Real processes and the journal: killed at any moment, on a full disk, and measured."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.journal.journal_child import AT_ONCE
from tests.journal.journal_support import COST, WORST, append, lines_of, request_id, row

from tunemill.clock import SystemClock
from tunemill.journal import Completed, Sent, open_for_reading, open_for_writing
from tunemill.model import FailureKind

ROOT = Path(__file__).parents[2]


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "tests.journal.journal_child", *map(str, args)]


def ran(*args: object, before: Sequence[str] = ()) -> list[list[str]]:
    """What a child said, word by word."""
    done = subprocess.run(
        [*before, *command(*args)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=100
    )
    return [line.split(" ", 1) for line in done.stdout.splitlines()]


def killed(folder: Path, begin: int, *, after_lines: int, after_s: float) -> list[list[str]]:
    """What a child said that was killed with kill -9 when it had said so many lines, and so long after that."""
    with subprocess.Popen(command("commit", folder, begin), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(after_lines)]
        time.sleep(after_s)  # a random moment is what is being tested
        process.kill()
        said += process.stdout
    return [line.split() for line in said if line.endswith("\n")]


def test_what_was_durable_survives_kill_9(tmp_path: Path) -> None:
    """Killed at random moments, over and over: every line that had been reported is there, and the money adds up."""
    folder = tmp_path / "journal"
    seed = time.time_ns()
    luck = random.Random(seed)
    reported: dict[str, set[int]] = {"sent": set(), "completed": set()}
    for round_, after_lines in enumerate((1, 5, 100, 1)):
        said = killed(folder, 10_000 * round_, after_lines=after_lines, after_s=luck.uniform(0.0, 0.15))
        for what, number in said[1:]:
            reported[what].add(int(number))
        lines = lines_of(folder)
        sent = {line.request for line in lines if isinstance(line, Sent)}
        completed = {line.request for line in lines if isinstance(line, Completed)}
        assert {request_id(number) for number in reported["sent"]} <= sent, f"seed {seed}"
        assert {request_id(number) for number in reported["completed"]} <= completed, f"seed {seed}"
        journal = open_for_reading(folder)
        assert journal.totals.settled == COST * len(completed)
        assert len(journal.totals.unresolved) <= AT_ONCE
        interrupted = journal.totals.attempts["plot", FailureKind.INTERRUPTED.value]
        assert journal.totals.uncertain == WORST * interrupted
        journal.close()
    assert reported["completed"], "nobody said that anything was durable"


def _expect_a_full_disk(folder: Path, said: list[list[str]]) -> None:
    durable = {int(words[1]) for words in said if words[0] == "durable"}
    ended = [words[1] for words in said if words[0] == "ended"]
    assert durable
    assert len(ended) == AT_ONCE
    assert all("cannot be written" in message and "make room" in message for message in ended)
    assert [words[0] for words in said][-1] == "later"
    sent = {line.request for line in lines_of(folder) if isinstance(line, Sent)}
    assert {request_id(number) for number in durable} <= sent
    assert len(sent) <= len(durable) + AT_ONCE


async def test_a_file_that_may_not_grow_ends_everybody_and_loses_nothing(tmp_path: Path) -> None:
    """EFBIG in the middle of a batch: one error for all, what was durable is there, and the next process goes on."""
    folder = tmp_path / "journal"
    _expect_a_full_disk(folder, ran("fill", folder, 20_000))
    before = len(lines_of(folder))
    journal, writer, closing = open_for_writing(folder, clock=SystemClock(), emit=lambda committed: None)
    await append(writer, [*closing, row(1)])
    journal.close()
    assert len(lines_of(folder)) == before + len(closing) + 1


def test_a_full_disk_ends_everybody_and_loses_nothing(tmp_path: Path) -> None:
    """The same on a real file system without room, where this machine lets one be mounted."""
    mount = f"mount -t tmpfs -o size=128k none {tmp_path} && "
    keep = tmp_path.with_name(tmp_path.name + "-kept")
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "sh", "-c", mount + "true"], check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    script = f'{mount} "$@" && cp -r {tmp_path} {keep}'
    said = ran("fill a small disk", tmp_path / "journal", before=[unshare, "-m", "sh", "-c", script, "sh"])
    _expect_a_full_disk(keep / "journal", said)


@pytest.mark.parametrize(
    ("lines", "answer_bytes"), [pytest.param(200_000, 20, marks=pytest.mark.torture), (1_200, 100_000)]
)
def test_replay_takes_little_memory(tmp_path: Path, lines: int, answer_bytes: int) -> None:
    """Neither many lines nor long ones: the index is on disk, and lines are held a few MB at a time."""
    ran("make", tmp_path / "journal", lines, answer_bytes)
    megabytes, attempts = ran("replay", tmp_path / "journal")[0]
    assert int(attempts) == lines // 2
    assert int(megabytes) <= 35
