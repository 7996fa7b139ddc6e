"""`runs`: a table of the runs in a folder."""

import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tunemill.app.folder import RUNS
from tunemill.app.overview import RunLine, UnreadableRun, overview, run_folders
from tunemill.cli.output import page, print_json, print_line, talk
from tunemill.telemetry import dollars, one_line
from tunemill.telemetry.display.view import STATE_STYLES
from tunemill.telemetry.words import ago_words, percent, state_words

_COLUMNS_ANY = 1_000  # where nobody's screen ends
_NAME_CHARS_MAX = 80
_NOTE_CHARS_MAX = 300


def show_runs(folder: Path | None, *, as_json: bool) -> None:
    """Print a line for each run, the last one that was active first."""
    place = Path(RUNS) if folder is None else folder
    if folder is None and not place.exists():
        lines: list[RunLine | UnreadableRun] = []
    else:
        lines = overview(run_folders(place))
    if as_json:
        for line in lines:
            print_json(line.to_json(), indented=False)
        return
    if not lines:
        talk(f"no runs in {place}: start one with `tunemill run RECIPE`")
        return
    console = page()
    if not sys.stdout.isatty():
        console.width = _COLUMNS_ANY
    console.print(_table(lines, time.time()))
    for line in lines:
        if note := line.problem if isinstance(line, UnreadableRun) else line.note:
            print_line(f"{_name(line)}: {one_line(note, chars_max=_NOTE_CHARS_MAX)}")


def _table(lines: list[RunLine | UnreadableRun], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading, style in (("run", "bold"), ("state", ""), ("done", ""), ("cost", ""), ("active", "")):
        table.add_column(heading, style=style, no_wrap=heading in {"done", "active"}, overflow="fold")
    for line in lines:
        if isinstance(line, UnreadableRun):
            table.add_row(_name(line), Text("unreadable", style="red"))
        else:
            table.add_row(*_cells(line, now))
    return table


def _cells(line: RunLine, now: float) -> tuple[Text, ...]:
    name = Text(_name(line))
    if line.simulated:
        name.append(" simulated", style="not bold magenta")
    state = Text(state_words(line.state), style=STATE_STYLES[line.state])
    if line.note:
        state.append(" ?", style="bold yellow")
    return name, state, _done(line), _cost(line), Text(ago_words(now - line.active_at))


def _name(line: RunLine | UnreadableRun) -> str:
    return one_line(line.folder, chars_max=_NAME_CHARS_MAX)


def _done(line: RunLine) -> Text:
    done = line.completed + line.failed
    words = Text(f"{done:,}/{line.planned:,} {percent(done, line.planned)}" if line.planned else "")
    if line.failed:
        words.append(f"\n{line.failed:,} failed", style="red")
    if line.as_of is not None:
        words.append(f"\n{_as_of(line.as_of)}", style="dim")
    return words


def _cost(line: RunLine) -> Text:
    of: Callable[[int], str] = dollars
    words = Text(of(line.settled) + ("" if line.budget is None else f" of {of(line.budget)}"))
    if line.uncertain:
        words.append(f"\n{of(line.uncertain)} uncertain", style="yellow")
    return words


def _as_of(known_at: float) -> str:
    """When the figures were right: a run that was killed has written more since its last snapshot."""
    if not known_at:
        return "not counted: see status"
    return f"as of {datetime.fromtimestamp(known_at).astimezone():%H:%M}; see status"
