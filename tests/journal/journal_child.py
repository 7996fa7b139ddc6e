"""Processes that the crash tests start: to be killed, to run out of disk, or to be measured."""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from tests.journal.journal_support import completed, row, sent

from tunemill.clock import SystemClock
from tunemill.errors import RunFolderUnwritable
from tunemill.journal import JournalWriter, Line, open_for_reading, open_for_writing
from tunemill.journal.codec import encode
from tunemill.journal.segments import segment_path

AT_ONCE = 8


def say(*words: object) -> None:
    """One line, out of the process before this returns."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    what, folder, *more = sys.argv[1:]
    match what:
        case "commit":
            asyncio.run(commit(Path(folder), int(more[0])))
        case "fill":
            fill(Path(folder), int(more[0]))
        case "fill a small disk":
            fill(Path(folder), 0)
        case "make":
            make(Path(folder), lines=int(more[0]), answer_bytes=int(more[1]))
        case "replay":
            replay(Path(folder))
        case _:
            raise SystemExit(f"unknown: {what}")


async def commit(folder: Path, begin: int) -> None:
    """Send and complete requests for ever, AT_ONCE at a time, saying what is durable."""
    journal, writer, closing = open_for_writing(folder, clock=SystemClock(), emit=lambda committed: None)
    say("open", journal.totals.settled)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for line in closing:
            journal.add(line, writer.append(line))
        for lane in range(AT_ONCE):
            tasks.create_task(_commit_for_ever(writer, begin + lane))


async def _commit_for_ever(writer: JournalWriter, number: int) -> None:
    while True:
        writer.append(row(number))
        await writer.commit(sent(number))
        say("sent", number)
        await writer.commit(completed(number))
        say("completed", number)
        number += AT_ONCE


def fill(folder: Path, bytes_max: int) -> None:
    """Commit until the disk is full (or files may not grow any more), and say how everybody's commits ended."""
    if bytes_max:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))
    asyncio.run(_fill(folder))


async def _fill(folder: Path) -> None:
    _, writer, _ = open_for_writing(folder, clock=SystemClock(), emit=lambda committed: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        ends = [tasks.create_task(_until_full(writer, lane)) for lane in range(AT_ONCE)]
    for end in ends:
        say("ended", end.result())
    try:
        await writer.commit(sent(10**6))
    except RunFolderUnwritable as error:
        say("later", error)


async def _until_full(writer: JournalWriter, number: int) -> str:
    while True:
        try:
            await writer.commit(sent(number, body=b'{"p":"' + b"x" * 500 + b'"}'))
        except RunFolderUnwritable as error:
            return str(error)
        say("durable", number)
        number += AT_ONCE


def make(folder: Path, *, lines: int, answer_bytes: int) -> None:
    """A journal of so many lines, written without fsync."""
    folder.mkdir()
    answer = b'{"text":"' + b"x" * answer_bytes + b'"}'
    with segment_path(folder, 1).open("wb") as handle:
        for number in range(lines // 2):
            pair: tuple[Line, Line] = (sent(number), completed(number, answer=answer))
            handle.write(encode(pair[0]) + encode(pair[1]))


def replay(folder: Path) -> None:
    """Open a journal, and say by how many MB that raised the peak of this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    journal = open_for_reading(folder)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say((after - before) // 1024, journal.totals.attempts.total())
    journal.close()


if __name__ == "__main__":
    main()
