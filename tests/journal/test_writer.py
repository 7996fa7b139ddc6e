"""Group commit: what has returned is on disk, what waits together is written together, and nobody waits for ever."""

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.journal.journal_support import completed, lines_of, names_in, row, sent
from tests.support.clock import ManualClock

from tunemill.errors import RunFolderUnwritable
from tunemill.events import JournalCommitted
from tunemill.journal import JournalWriter, writer
from tunemill.statistics import JournalLevel


class Disk:
    """Stands between writing and the real fsync: holds it up, counts it, notes how long the file is; or fails."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.sizes: list[int] = []
        self.error: OSError | None = None

    async def write_durably(self, descriptor: int, text: bytes) -> None:
        assert os.write(descriptor, text) == len(text)
        self.begun.set()
        self.sizes.append(os.fstat(descriptor).st_size)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        await asyncio.to_thread(os.fsync, descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(writer, "_write_durably", disk.write_durably)
    return disk


def writer_in(
    folder: Path, heard: list[JournalCommitted] | None = None, clock: ManualClock | None = None, **more: Any
) -> JournalWriter:
    folder.mkdir(exist_ok=True)
    emit = (lambda event: None) if heard is None else heard.append
    return JournalWriter(folder, segment=1, offset=0, clock=clock or ManualClock(), emit=emit, **more)


async def test_commit_returns_only_after_fsync(tmp_path: Path, disk: Disk) -> None:
    """While the disk is busy, nobody goes on; the line was in the file when fsync began."""
    journal = writer_in(tmp_path)
    disk.go.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        commit = tasks.create_task(journal.commit(sent(1)))
        await disk.begun.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not commit.done()
        disk.go.set()
        location = await commit
        journal.close()
    assert disk.sizes == [location.end]


async def test_who_waits_at_the_same_time_shares_one_fsync(tmp_path: Path, disk: Disk) -> None:
    """A hundred commits while one is being written: two fsyncs in all, and one event for each."""
    heard: list[JournalCommitted] = []
    journal = writer_in(tmp_path, heard)
    disk.go.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        first = tasks.create_task(journal.commit(sent(0)))
        await disk.begun.wait()
        rest = [tasks.create_task(journal.commit(sent(number))) for number in range(1, 101)]
        await asyncio.sleep(0)
        disk.go.set()
        locations = [await first, *[await task for task in rest]]
        journal.close()
    assert [event.lines for event in heard] == [1, 100]
    assert disk.sizes == [locations[0].end, locations[-1].end]
    assert sum(event.bytes_written for event in heard) == locations[-1].end
    assert len(lines_of(tmp_path)) == 101


async def test_an_appended_line_is_durable_with_the_next_commit(tmp_path: Path) -> None:
    """Lines that nobody waits for keep their place in the order."""
    journal = writer_in(tmp_path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        journal.append(row(1))
        await journal.commit(sent(1))
        assert lines_of(tmp_path)[0] == row(1)
        journal.append(row(2))
        journal.close()
    assert lines_of(tmp_path)[2] == row(2)


async def test_a_batch_over_two_segments_is_durable_in_both(tmp_path: Path, disk: Disk) -> None:
    """Lines that gather while a segment fills up go to the next; each file is synced before anybody goes on."""
    journal = writer_in(tmp_path, segment_bytes_max=600)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        commits = [tasks.create_task(journal.commit(completed(number))) for number in range(5)]
        segments = [(await commit).segment for commit in commits]
        journal.close()
    assert segments == [1, 2, 3, 4, 5]
    assert len(disk.sizes) == 5
    assert names_in(tmp_path) == [f"{number:06d}.jsonl" for number in segments]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_after_a_failed_fsync_nothing_is_written_any_more(tmp_path: Path, disk: Disk, number: int) -> None:
    """Everybody who waits and everybody who comes later gets the error; what was durable before is there."""
    journal = writer_in(tmp_path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        await journal.commit(sent(1))
        disk.error = OSError(number, os.strerror(number))
        disk.go.clear()
        disk.begun.clear()
        waiting = [tasks.create_task(_outcome(journal, 2))]
        await disk.begun.wait()
        waiting += [tasks.create_task(_outcome(journal, later)) for later in range(3, 6)]
        await asyncio.sleep(0)
        disk.go.set()
        assert [await task for task in waiting] == ["unwritable"] * 4
        assert await _outcome(journal, 6) == "unwritable"
        with pytest.raises(RunFolderUnwritable, match=r"000001\.jsonl: cannot be written"):
            journal.append(row(9))
    assert len(disk.sizes) == 2
    assert lines_of(tmp_path)[0] == replace(sent(1), body=None)


async def test_a_disk_that_hangs_is_seen_before_it_answers(tmp_path: Path, disk: Disk) -> None:
    """What is under way and what waits behind it; when the write fails at last, that is counted."""
    clock = ManualClock()
    journal = writer_in(tmp_path, clock=clock)
    assert journal.level() == JournalLevel()
    disk.go.clear()
    disk.error = OSError(errno.EIO, "Input/output error")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        waiting = [tasks.create_task(_outcome(journal, 1))]
        await disk.begun.wait()
        waiting.append(tasks.create_task(_outcome(journal, 2)))
        await asyncio.sleep(0)
        clock.advance(12.5)
        assert journal.level() == JournalLevel(lines_pending=2, write_s=12.5, write_failures=0)
        disk.go.set()
        assert [await task for task in waiting] == ["unwritable"] * 2
    assert journal.level() == JournalLevel(lines_pending=2, write_s=0.0, write_failures=1)


async def test_what_was_durable_is_never_reported_as_lost(tmp_path: Path, disk: Disk) -> None:
    """A commit that is on disk returns, also where the next batch fails before its task had its turn."""
    journal = writer_in(tmp_path)
    durable = asyncio.create_task(journal.commit(sent(1)))
    await asyncio.sleep(0)
    run = asyncio.create_task(journal.run())
    journal.close()  # the writer ends in the same turn in which it lets the waiting go on
    assert (await durable).offset == 0
    await run


async def test_a_closed_journal_lets_nobody_wait(tmp_path: Path) -> None:
    """A line that comes too late is refused, not queued for nobody."""
    journal = writer_in(tmp_path)
    journal.close()
    await journal.run()
    with pytest.raises(RunFolderUnwritable, match="closed"):
        await journal.commit(sent(1))


async def test_a_cancelled_writer_lets_nobody_wait(tmp_path: Path, disk: Disk) -> None:
    """Whoever waits for the batch that was being written, or for a later one, hears of it."""
    journal = writer_in(tmp_path)
    disk.go.clear()
    run = asyncio.create_task(journal.run())
    first = asyncio.create_task(_outcome(journal, 1))
    await disk.begun.wait()
    second = asyncio.create_task(_outcome(journal, 2))
    await asyncio.sleep(0)
    run.cancel()
    assert tuple(await asyncio.wait_for(asyncio.gather(first, second), 10)) == ("unwritable", "unwritable")
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_whoever_is_cancelled_while_waiting_takes_nothing_back(tmp_path: Path, disk: Disk) -> None:
    """The line is written all the same, whole, and the others go on."""
    journal = writer_in(tmp_path)
    disk.go.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run())
        gone = asyncio.create_task(journal.commit(sent(1)))
        stays = tasks.create_task(journal.commit(sent(2)))
        await disk.begun.wait()
        gone.cancel()
        disk.go.set()
        await stays
        journal.close()
    assert gone.cancelled()
    assert len(lines_of(tmp_path)) == 2


async def _outcome(journal: JournalWriter, number: int) -> str:
    try:
        await journal.commit(sent(number))
    except RunFolderUnwritable:
        return "unwritable"
    return "durable"
