"""Progress for a person: a live picture on a terminal, a line every few seconds elsewhere.

Both read the statistics when they are refreshed, and hear the events for what statistics do not hold. Whoever owns
the run owns the refreshing too: `keep_fresh` is a coroutine for its task group. A terminal that has gone away ends
the display and nothing else.
"""

import contextlib
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text
from structlog.typing import FilteringBoundLogger

from tunemill.events import Event
from tunemill.statistics import RunStatistics
from tunemill.telemetry.display.redrawn import Redrawn, clear_reflowed
from tunemill.telemetry.display.terminal import without_caret_c
from tunemill.telemetry.display.view import final_frame, live_frame
from tunemill.telemetry.logs.sink import LineSink, Room
from tunemill.telemetry.recent import RecentEvents
from tunemill.telemetry.words import progress_line

_LIVE_PERIOD_S = 0.125
_LINE_PERIOD_S = 5.0
_SILENCE_MAX_S = 60.0
_LOSSES_MAX = 40


class Display(Protocol):
    """What whoever runs a run may do with its display."""

    @property
    def period_s(self) -> float:
        """How often it wants to be refreshed."""

    @property
    def is_live(self) -> bool:
        """Whether it is a picture that shows outcomes itself, so that logs should be calm."""

    def on_event(self, event: Event) -> None:
        """Hear of an event."""

    def refresh(self) -> None:
        """Show the figures of this moment."""

    def print(self, renderable: RenderableType) -> None:
        """Print something lasting, without tearing what is shown."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the last figures on the screen, in a tidy form."""


class LiveDisplay:
    """The picture of `view`, redrawn in place about 8 times a second. Log lines go above it.

    Of `RunStatistics.fine_tune` it reads status, state, job_id, model, error, usd, usd_estimated, simulated, and
    train_loss, step and total_steps where they are given.
    """

    period_s = _LIVE_PERIOD_S
    is_live = True

    def __init__(
        self, console: Console, statistics: Callable[[], RunStatistics], monotonic: Callable[[], float], sink: LineSink
    ) -> None:
        self._console = console
        self._statistics = statistics
        self._monotonic = monotonic
        self._sink = sink
        self._recent = RecentEvents()
        self._losses: deque[float] = deque(maxlen=_LOSSES_MAX)
        self._started_s = monotonic()
        self._is_gone = False  # the terminal
        self._room = Room(console.file)
        self._drawn: Redrawn | None = None
        self._quiet_keys = contextlib.ExitStack()
        self._live = Live(
            console=console,
            auto_refresh=False,  # its thread would read figures that are being changed
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # data that goes to a file or a pipe stays on its way there
            redirect_stderr=True,
            vertical_overflow="crop",
        )

    def on_event(self, event: Event) -> None:
        """Remember the event; it is shown with the next refresh."""
        self._recent.on_event(event)

    def __enter__(self) -> Self:
        self._started_s = self._monotonic()
        self._quiet_keys.enter_context(without_caret_c())
        self._on_terminal(self._live.start)
        self._sink.divert(self._print_log_line)
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sink.restore()
        self._quiet_keys.close()
        self._draw(Text(""))  # stopping draws the last picture once more, and all of it, however low the terminal is
        self._on_terminal(self._live.stop, at_any_rate=True)
        self._drawn = None
        statistics = self._figures()
        last = final_frame(statistics, self._recent, elapsed_s=self._elapsed_s(), losses=self._losses)
        self._on_terminal(lambda: self._console.print(last), at_any_rate=True)

    def refresh(self) -> None:
        """Draw the picture of this moment."""
        frame = live_frame(self._figures(), self._recent, elapsed_s=self._elapsed_s(), losses=self._losses)
        self._draw(frame)

    def print(self, renderable: RenderableType) -> None:
        """Print above the picture."""
        self._on_terminal(lambda: self._console.print(renderable))

    def _draw(self, frame: RenderableType) -> None:
        """Over the last picture."""

        def draw() -> None:
            self._drawn = Redrawn(frame)
            self._live.update(self._drawn, refresh=True)

        self._on_terminal(draw)

    def _print_log_line(self, line: str) -> None:
        self.print(Text.from_ansi(line))

    def _figures(self) -> RunStatistics:
        """The statistics of this moment; the loss, which they hold only the last of, is kept on the way."""
        statistics = self._statistics()
        loss = (statistics.fine_tune or {}).get("train_loss")
        if isinstance(loss, float) and (not self._losses or self._losses[-1] != loss):
            self._losses.append(loss)
        return statistics

    def _elapsed_s(self) -> float:
        return self._monotonic() - self._started_s

    def _on_terminal(self, act: Callable[[], object], *, at_any_rate: bool = False) -> None:
        """Write to the terminal, unless it was stopped (Ctrl-S): what is not written then is not missed."""
        if self._is_gone or not (self._room.is_there() or at_any_rate):
            return
        try:
            if self._drawn is not None:
                clear_reflowed(self._console, self._drawn)
            act()
        except OSError:  # the terminal was closed; the run goes on, and its logs find their own way
            self._is_gone = True
            self._sink.restore()


class LineDisplay:
    """A line every few seconds, while there is something new to say, and at least once a minute."""

    period_s = _LINE_PERIOD_S
    is_live = False

    def __init__(
        self,
        console: Console,
        statistics: Callable[[], RunStatistics],
        monotonic: Callable[[], float],
        write: Callable[[RunStatistics], None],
    ) -> None:
        self._console = console
        self._statistics = statistics
        self._monotonic = monotonic
        self._write = write
        self._last_words = ""
        self._last_s = monotonic()

    def on_event(self, event: Event) -> None:
        """Events are the log's business here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._say(self._statistics(), only_news=True)

    def refresh(self) -> None:
        """Say how far it is, unless that was said less than a minute ago."""
        is_due = self._monotonic() - self._last_s >= _SILENCE_MAX_S
        self._say(self._statistics(), only_news=not is_due)

    def print(self, renderable: RenderableType) -> None:
        """Print something lasting."""
        with contextlib.suppress(OSError):  # whoever read it has gone
            self._console.print(renderable)

    def _say(self, statistics: RunStatistics, *, only_news: bool) -> None:
        words = progress_line(statistics)
        if only_news and words == self._last_words:
            return
        self._last_words, self._last_s = words, self._monotonic()
        self._write(statistics)


class _Console(Console):
    """Rich ends the process when a pipe breaks; a paid run is not ended by its display."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(stream: TextIO | None = None) -> Console:
    """A console on the stream (stderr unless given) that interprets no markup and colours nothing on its own."""
    return _Console(file=stream, stderr=stream is None, highlight=False, markup=False, emoji=False)


def make_display(
    console: Console,
    statistics: Callable[[], RunStatistics],
    monotonic: Callable[[], float],
    *,
    sink: LineSink,
    write_line: Callable[[RunStatistics], None],
) -> Display:
    """The live picture where the console is a terminal that can redraw, else a line every few seconds.

    `monotonic` is the clock's, in seconds.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, statistics, monotonic, sink)
    return LineDisplay(console, statistics, monotonic, write_line)


def print_progress(sink: LineSink) -> Callable[[RunStatistics], None]:
    """Progress lines as plain text, where the logs are for people."""
    return lambda statistics: sink.write(progress_line(statistics))


def log_progress(logger: FilteringBoundLogger) -> Callable[[RunStatistics], None]:
    """Progress lines as log lines (`progress`): the figures of `status --json`, and in `line` the words."""
    return lambda statistics: logger.info("progress", line=progress_line(statistics), **statistics.to_json())


async def keep_fresh(display: Display, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Refresh the display as often as it wants, until cancelled."""
    while True:
        display.refresh()
        await sleep(display.period_s)
