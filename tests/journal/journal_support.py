"""What the journal's tests share: lines, a journal that is written and closed, and what stands in one."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import orjson

from tunemill.clock import SystemClock
from tunemill.journal import (
    AttemptFailed,
    Completed,
    Failed,
    Journal,
    JournalWriter,
    Line,
    Location,
    RowSeen,
    Sent,
)
from tunemill.journal.codec import decode
from tunemill.journal.segments import scan, segments_of
from tunemill.model import FailureKind, Usage

WORST = 1_000_000
COST = 400_000


def row_id(number: int) -> str:
    """A row's id, of which the first 64 bits tell it from others too."""
    return f"{number:016x}{number:016x}"


def request_id(number: int) -> str:
    """A request's id, of which the first 64 bits tell it from others too."""
    return f"{number + 2**40:016x}{number:016x}"


def row(number: int, fields: dict[str, str] | None = None) -> RowSeen:
    return RowSeen(position=number, row=row_id(number), fields={"text": "x"} if fields is None else fields)


def sent(number: int, attempt: int = 1, *, body: bytes = b'{"model":"m"}', step: str = "plot") -> Sent:
    return Sent(
        at=1000.0 + number,
        request=request_id(number),
        row=row_id(number),
        step=step,
        sample=0,
        attempt=attempt,
        reserved=WORST,
        path="/chat/completions",
        body=orjson.Fragment(body) if attempt == 1 else None,
    )


def completed(number: int, attempt: int = 1, *, answer: bytes = b'{"choices":[]}', step: str = "plot") -> Completed:
    return Completed(
        at=1000.5 + number,
        request=request_id(number),
        row=row_id(number),
        step=step,
        sample=0,
        attempt=attempt,
        cost=COST,
        outcome="stop",
        usage=Usage(input=10, output=20, cached_input=3, reasoning=4),
        duration_s=0.5,
        provider_request_id=f"req_{number}",
        answer=orjson.Fragment(answer),
    )


def attempt_failed(number: int, attempt: int = 1, *, uncertain: int = 0) -> AttemptFailed:
    return AttemptFailed(
        at=1000.5 + number,
        request=request_id(number),
        row=row_id(number),
        step="plot",
        sample=0,
        attempt=attempt,
        failure=FailureKind.TIMEOUT,
        status=None,
        message="no answer",
        uncertain=uncertain,
    )


def failed(number: int, attempt: int = 1, *, uncertain: int = 0) -> Failed:
    return Failed(
        at=1000.5 + number,
        request=request_id(number),
        row=row_id(number),
        step="plot",
        sample=0,
        attempt=attempt,
        failure=FailureKind.BAD_REQUEST,
        status=400,
        message="no",
        uncertain=uncertain,
    )


def life(number: int) -> list[Line]:
    """A row, its request sent, and its answer."""
    return [row(number), sent(number), completed(number)]


def writer_after(journal: Journal, *, segment_bytes_max: int = 1 << 30) -> JournalWriter:
    """A writer that goes on where a journal ends."""
    return JournalWriter(
        journal.folder,
        segment=journal.end.segment,
        offset=journal.end.end,
        clock=SystemClock(),
        emit=lambda committed: None,
        segment_bytes_max=segment_bytes_max,
    )


async def append(writer: JournalWriter, lines: Iterable[Line]) -> list[Location]:
    """Write lines one after the other, and close."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        locations = [writer.append(line) for line in lines]
        writer.close()
    return locations


async def write(folder: Path, lines: Iterable[Line], *, segment_bytes_max: int = 1 << 30) -> list[Location]:
    """A new journal with these lines."""
    _make(folder)
    writer = JournalWriter(
        folder,
        segment=1,
        offset=0,
        clock=SystemClock(),
        emit=lambda committed: None,
        segment_bytes_max=segment_bytes_max,
    )
    return await append(writer, lines)


def lines_of(folder: Path) -> list[Line]:
    """Every line that a reader sees, without payloads."""
    return [decode(text) for _, text in scan(folder, segments_of(folder))]


def names_in(folder: Path) -> list[str]:
    """The files of a folder."""
    return sorted(path.name for path in folder.iterdir())


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
