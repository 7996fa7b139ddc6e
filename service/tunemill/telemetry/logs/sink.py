"""Where finished lines go: a stream that may be closed, broken, or not be read any more, none of which ends a run.

Whoever reads is waited for, but not for long: a pager that nobody scrolls, or a terminal that was stopped with Ctrl-S,
would otherwise stop the run with it. Lines that could not be written are counted.
"""

import io
import select
from collections.abc import Callable
from typing import IO

_PATIENCE_MS = 250
_LAST_PATIENCE_MS = 5_000
_LINES_TO_TRUST_AGAIN = 1_000  # that went through, before a reader who stood still is waited for once more


class Room:
    """Whether a stream takes what is written to it. One that is no pipe, socket or terminal always does."""

    __slots__ = ("_lines_through", "_patience_ms", "_poll")

    def __init__(self, stream: IO[str]) -> None:
        self._poll = _poll_of(stream)
        self._patience_ms = _PATIENCE_MS
        self._lines_through = 0

    def is_there(self) -> bool:
        """Whether something can be written now, or within a moment."""
        if self._poll is None:
            return True
        try:
            has_room = bool(self._poll.poll(self._patience_ms))  # a broken pipe has room: writing says what is wrong
        except OSError:
            return True
        if not has_room:
            self._patience_ms = self._lines_through = 0
            return False
        self._lines_through += 1
        if self._lines_through >= _LINES_TO_TRUST_AGAIN:
            self._patience_ms = _PATIENCE_MS
        return True

    def trust_once_more(self) -> None:
        """What comes next is worth waiting for, for a few seconds."""
        self._patience_ms = _LAST_PATIENCE_MS


class LineSink:
    """The stream, or for a while elsewhere (above a live display). Counts what was lost."""

    __slots__ = ("_elsewhere", "_room", "_stream", "lines_lost")

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._room = Room(stream)
        self._elsewhere: Callable[[str], None] | None = None
        self.lines_lost = 0

    def write(self, line: str) -> None:
        """Write one line, given without its newline."""
        if self._elsewhere is not None:
            self._elsewhere(line)
            return
        if not self._room.is_there():
            self.lines_lost += 1
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a pipe that nobody reads any more, a full disk, or a stream that is closed
            self.lines_lost += 1

    def write_last_line_next(self) -> None:
        """The next line says how all ended: whoever reads late may still want it."""
        self._room.trust_once_more()

    def divert(self, elsewhere: Callable[[str], None]) -> None:
        """From now on hand each line to `elsewhere`."""
        self._elsewhere = elsewhere

    def restore(self) -> None:
        """From now on write to the stream again."""
        self._elsewhere = None


def _poll_of(stream: IO[str]) -> "select.poll | None":
    """What says whether the stream can be written to; None where it is nothing that the system knows."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
