"""`events.jsonl` and `metrics.csv`: the target's events in the order they happened, and the training curve in them.

An event is written once, also over restarts; it is durable when `append` returns. The curve is always what the events
of the current job say, until the target's own results file takes its place. Memory: one id for each event.
"""

import base64
import binascii
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from tunemill.client.fine_tuning_values import JobEvent
from tunemill.errors import RunFolderError
from tunemill.files import replacing, sync_folder, translating_write_errors, write_whole
from tunemill.model import Json

EVENTS_NAME = "events.jsonl"
METRICS_NAME = "metrics.csv"
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")

# What the events call the columns of the results file, where that is something else.
_IN_EVENTS = {"train_accuracy": "train_mean_token_accuracy"}
_JOB_KEY = "fine_tuning_job_id"
_ID_KEY = "id"


class Curve:
    """Both files of one run folder, for one job."""

    def __init__(self, folder: Path, job_id: str) -> None:
        """Learn which events are written already, and write the curve anew from them.

        A torn last line is cut off; any other damage raises `RunFolderError`.
        """
        self._events = folder / EVENTS_NAME
        self._metrics = folder / METRICS_NAME
        self._job_id = job_id
        self.known: set[str] = set()
        with translating_write_errors(self._events):
            _cut_torn_line(self._events)
        with replacing(self._metrics) as handle:
            handle.write(_csv_line(COLUMNS))
            for event_id, served in _lines(self._events, self._job_id):
                self.known.add(event_id)
                handle.write(_csv_line(_metrics_row(served)))

    def append(self, events: Iterable[JobEvent]) -> list[JobEvent]:
        """Write the events that are new, and return them."""
        fresh = [event for event in events if event.id not in self.known]
        if fresh:
            lines = b"".join(orjson.dumps(self._line(event)) + b"\n" for event in fresh)
            _append(self._events, lines)
            _append(self._metrics, b"".join(_csv_line(_metrics_row(event.served)) for event in fresh))
            self.known.update(event.id for event in fresh)
        return fresh

    def take_results(self, content: bytes) -> bool:
        """Replace the curve by the target's results file; False where that is no CSV (nothing is touched then)."""
        table = csv_of(content)
        if not table:
            return False
        write_whole(self._metrics, table)
        return True

    def _line(self, event: JobEvent) -> Mapping[str, Json]:
        return {**event.served, _ID_KEY: event.id, _JOB_KEY: self._job_id}


def csv_of(content: bytes) -> bytes:
    """A results file as CSV, whether it was served plain or as base64; b"" where it is neither."""
    for candidate in (content, _unpacked(content)):
        header = candidate.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip()
        if b"step" in header.split(b","):
            return candidate.lstrip(b"\xef\xbb\xbf").rstrip() + b"\n"
    return b""


def _unpacked(content: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(content.strip().strip(b'"').split()), validate=True)
    except binascii.Error:
        return b""


def _lines(path: Path, job_id: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Id and event of each line of the current job."""
    if not path.exists():
        return
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            served = _parsed(path, number, line)
            if served.get(_JOB_KEY) == job_id:
                yield str(served.get(_ID_KEY)), served


def _parsed(path: Path, number: int, line: bytes) -> Mapping[str, Json]:
    try:
        served = orjson.loads(line)
    except orjson.JSONDecodeError:
        served = None
    if not isinstance(served, dict) or not isinstance(served.get(_ID_KEY), str):
        raise RunFolderError(
            "is not an event", mend="delete the line: the target serves its events again", file=path, line=number
        )
    return served


def _metrics_row(served: Mapping[str, Json]) -> tuple[str, ...]:
    """The row of one event; empty for an event without metrics."""
    data = served.get("data")
    if not isinstance(data, Mapping) or "step" not in data:
        return ()
    cells = [data.get(column, data.get(_IN_EVENTS.get(column, column))) for column in COLUMNS]
    return (
        tuple("" if cell is None else str(cell) for cell in cells)
        if any(cell is not None for cell in cells[1:])
        else ()
    )


def _csv_line(row: tuple[str, ...]) -> bytes:
    if not row:
        return b""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue().encode()


def _append(path: Path, lines: bytes) -> None:
    with translating_write_errors(path):
        is_new = not path.exists()
        with path.open("ab") as handle:
            handle.write(lines)
            handle.flush()
            os.fsync(handle.fileno())
        if is_new:
            sync_folder(path.parent)


def _cut_torn_line(path: Path) -> None:
    """Drop what follows the last line end: the process died while it wrote it."""
    if not path.exists():
        return
    with path.open("r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        kept = size
        while kept > 0:
            start = max(0, kept - 65_536)
            handle.seek(start)
            end = handle.read(kept - start).rfind(b"\n")
            if end >= 0:
                kept = start + end + 1
                break
            kept = start
        if kept < size:
            handle.truncate(kept)
