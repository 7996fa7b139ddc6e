"""Where lines go: a reader who stands still or goes away loses lines, and holds up nobody."""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tunemill.telemetry import LineSink
from tunemill.telemetry.logs.sink import Room


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[str]]]:
    """Its two ends. What nobody read is thrown away at the end."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as reader, os.fdopen(write, "w", encoding="utf-8") as writer:
        yield reader, writer


def test_a_reader_who_stands_still_does_not_stop_whoever_writes() -> None:
    """A pager that nobody scrolls: a pipe holds 64 kB, and writing to a full one waits for ever."""
    with _pipe() as (reader, writer):
        sink = LineSink(writer)
        for _ in range(300):
            sink.write("x" * 1_000)
        assert 200 < sink.lines_lost < 300
        lost = sink.lines_lost
        while len(reader.read(65_536)) == 65_536:  # it is read again
            pass
        sink.write("one more")
        assert sink.lines_lost == lost
        assert reader.read(100).endswith(b"one more\n")


def test_for_the_last_line_a_late_reader_is_waited_for() -> None:
    """It says how the run ended. What was lost before is counted in it."""
    with _pipe() as (reader, writer):
        sink = LineSink(writer)
        for _ in range(100):
            sink.write("x" * 1_000)
        sink.write_last_line_next()
        reading = threading.Timer(0.3, reader.read, [65_536])
        reading.start()
        sink.write("the end")
        reading.join()
        assert reader.read(65_536).endswith(b"the end\n")


def test_a_reader_who_went_away_is_written_to_and_not_missed() -> None:
    """A broken pipe says so at the first write."""
    with _pipe() as (reader, writer):
        sink = LineSink(writer)
        reader.close()
        for _ in range(3):
            sink.write("x")
        assert sink.lines_lost == 3
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer.fileno())  # what it still holds goes nowhere


def test_what_is_no_file_of_the_system_always_has_room() -> None:
    """A stream in memory."""
    assert Room(io.StringIO()).is_there()
