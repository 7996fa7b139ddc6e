"""The displays: what they write and when, and that they never stand in the way of a run."""

import asyncio
import io
import json
import re
import sys
from dataclasses import replace

import pytest
from rich.text import Text
from tests.telemetry.samples import COMPLETED, EVENTS, FINISHED, STATISTICS, ManualClock

from tunemill.statistics import RunStatistics
from tunemill.telemetry import (
    LineDisplay,
    LineSink,
    LiveDisplay,
    keep_fresh,
    make_console,
    make_display,
    print_progress,
)
from tunemill.telemetry.display.redrawn import Redrawn


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and may be closed at the other end."""

    is_hung_up = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_hung_up:
            raise BrokenPipeError
        return super().write(text)


class Run:
    """Statistics that the test changes."""

    def __init__(self) -> None:
        self.statistics = STATISTICS

    def read(self) -> RunStatistics:
        return self.statistics


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def _live(terminal: Terminal, run: Run, clock: ManualClock | None = None) -> tuple[LiveDisplay, LineSink]:
    sink = LineSink(terminal)
    display = make_display(
        make_console(terminal), run.read, (clock or ManualClock()).monotonic, sink=sink, write_line=print_progress(sink)
    )
    assert isinstance(display, LiveDisplay)
    return display, sink


def _lines(run: Run, clock: ManualClock) -> tuple[LineDisplay, io.StringIO]:
    stream = io.StringIO()
    sink = LineSink(stream)
    display = make_display(make_console(stream), run.read, clock.monotonic, sink=sink, write_line=print_progress(sink))
    assert isinstance(display, LineDisplay)
    return display, stream


def _visible(written: str) -> str:
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", written)


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot redraw."""
    monkeypatch.setenv("TERM", "dumb")
    sink = LineSink(terminal)
    display = make_display(
        make_console(terminal), Run().read, ManualClock().monotonic, sink=sink, write_line=print_progress(sink)
    )
    assert not display.is_live


def test_the_live_display_shows_and_leaves_the_end(terminal: Terminal) -> None:
    """While it runs the moment's figures; afterwards how it ended, with the cursor visible again."""
    run = Run()
    display, _ = _live(terminal, run)
    with display:
        display.on_event(COMPLETED)
        display.refresh()
        assert "201/512" in _visible(terminal.getvalue())
        assert COMPLETED.text in _visible(terminal.getvalue())
        terminal.truncate(0)
        run.statistics = FINISHED
    last = _visible(terminal.getvalue())
    assert "FINISHED WITH FAILURES" in last
    assert "511 completed, 1 failed" in last
    assert "\x1b[?25h" in terminal.getvalue()


def test_every_event_may_be_shown(terminal: Terminal) -> None:
    """None of them breaks the picture."""
    display, _ = _live(terminal, Run())
    with display:
        for event in EVENTS:
            display.on_event(event)
            display.refresh()


def test_log_lines_go_above_the_picture_and_later_to_the_stream(terminal: Terminal) -> None:
    """They do not tear it: the picture is erased, the line printed, the picture drawn again below."""
    display, sink = _live(terminal, Run())
    with display:
        terminal.truncate(0)
        sink.write("a \x1b[1mwarning\x1b[0m [not markup]")
        written = _visible(terminal.getvalue())
        assert written.index("a warning [not markup]") < written.index("movie-plots")
    terminal.truncate(0)
    sink.write("later")
    assert terminal.getvalue().endswith("later\n")


def test_something_lasting_is_printed_above_the_picture(terminal: Terminal) -> None:
    """The pilot's completions, for example."""
    display, _ = _live(terminal, Run())
    with display:
        terminal.truncate(0)
        display.print(Text("a completion"))
        written = _visible(terminal.getvalue())
        assert written.index("a completion") < written.index("movie-plots")


def test_stray_writes_to_stderr_do_not_tear_the_picture(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what no logger saw goes above; and stderr is itself again afterwards."""
    monkeypatch.setattr(sys, "stderr", terminal)
    display, _ = _live(terminal, Run())
    with display:
        terminal.truncate(0)
        print("stray", file=sys.stderr)
        written = _visible(terminal.getvalue())
        assert written.index("stray") < written.index("movie-plots")
    assert sys.stderr is terminal


def test_data_on_stdout_is_left_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """When stdout is a file or a pipe, what a program reads goes there and not onto the screen."""
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    display, _ = _live(terminal, Run())
    with display:
        print('{"data": 1}')
    assert stdout.getvalue() == '{"data": 1}\n'


def test_a_terminal_that_goes_away_ends_only_the_display(terminal: Terminal) -> None:
    """The run goes on, and the logs are no longer diverted to it."""
    display, sink = _live(terminal, Run())
    with display:
        terminal.is_hung_up = True
        display.refresh()
        display.print(Text("gone"))
        sink.write("also gone")
        display.refresh()
    assert sink.lines_lost == 1


def test_an_error_passes_through_the_display(terminal: Terminal) -> None:
    """It is shown how far the run came, and the error stays itself."""
    display, _ = _live(terminal, Run())
    with pytest.raises(ZeroDivisionError), display:
        raise ZeroDivisionError
    assert "200 completed" in _visible(terminal.getvalue())


def test_the_loss_is_kept_as_it_changes(terminal: Terminal) -> None:
    """Statistics hold the last value; the display draws the way it took."""
    run = Run()
    display, _ = _live(terminal, run)
    with display:
        for loss in (2.0, 2.0, 1.5, 1.0):
            run.statistics = replace(FINISHED, fine_tune={"status": "running", "train_loss": loss})
            display.refresh()
    assert "█▅▁  2.000 to 1.000" in _visible(terminal.getvalue())


def test_elapsed_time_is_the_clocks(terminal: Terminal) -> None:
    """Counted from the start of the display."""
    clock = ManualClock()
    display, _ = _live(terminal, Run(), clock)
    clock.now_s = 100.0
    with display:
        clock.now_s = 142.0
        display.refresh()
        assert "42 s, ETA 5 min 40 s" in _visible(terminal.getvalue())


def test_without_a_terminal_a_line_is_written_when_there_is_news() -> None:
    """The same figures twice are said once, but at least once a minute."""
    run, clock = Run(), ManualClock()
    display, stream = _lines(run, clock)
    with display:
        for _ in range(25):
            display.refresh()
            clock.now_s += display.period_s
        assert stream.getvalue().count("progress 201/512") == 3
        run.statistics = FINISHED
    assert stream.getvalue().splitlines()[-1].startswith("progress 512/512 100 % | finished with failures")


def test_progress_lines_carry_no_escape_sequences() -> None:
    """They end up in files."""
    display, stream = _lines(Run(), ManualClock())
    with display:
        display.refresh()
    assert "\x1b" not in stream.getvalue()


async def test_a_display_is_kept_fresh_until_cancelled() -> None:
    """At the pace that it wants, on the clock that it is given."""

    class Clock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            await asyncio.sleep(0)
            if self.now_s >= 100.0:
                raise asyncio.CancelledError

    clock = Clock()
    run = Run()
    display, stream = _lines(run, clock)
    with pytest.raises(asyncio.CancelledError):
        await keep_fresh(display, clock.sleep)
    assert stream.getvalue().count("progress") == 2


def test_statistics_that_change_between_refreshes_are_read_anew() -> None:
    """Nothing is cached."""
    run, clock = Run(), ManualClock()
    written: list[str] = []
    display = LineDisplay(
        make_console(io.StringIO()),
        run.read,
        clock.monotonic,
        lambda figures: written.append(json.dumps(figures.to_json())),
    )
    display.refresh()
    run.statistics = replace(STATISTICS, eta_s=100.0)
    display.refresh()
    assert [json.loads(each)["eta_s"] for each in written] == [340.0, 100.0]


def test_a_narrower_terminal_is_cleared_of_the_lines_that_it_broke() -> None:
    """It made two or three rows of each line; drawing again begins above all of them."""
    stream = io.StringIO()
    console = make_console(stream)
    console.width = 100
    drawn = Redrawn(Text("x" * 100 + "\n" + "y" * 60 + "\n" + "z" * 40))
    console.print(drawn, end="")
    assert drawn.line_widths == (100, 60, 40)
    assert [drawn.rows_more(width) for width in (200, 100, 60, 50, 40)] == [0, 0, 1, 2, 3]


def test_the_picture_is_never_higher_than_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even at the end, when what is drawn last would scroll out of reach and stay."""
    monkeypatch.setenv("LINES", "6")
    display, _ = _live(terminal, Run())
    with display:
        display.refresh()
        assert len(_visible(terminal.getvalue()).splitlines()) <= 2 * 6
        terminal.truncate(0)
        terminal.seek(0)
    erased, _, last = terminal.getvalue().partition("\x1b[?25h")
    assert "201/512" not in _visible(erased)
    assert "201/512" in _visible(last)
