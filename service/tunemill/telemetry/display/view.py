"""A run as a picture for a terminal: pure functions from figures and recent events to what rich can print.

Promises: nothing in the picture comes from outside uncleaned (no markup, no control characters, no keys), colour never
carries a meaning alone, and it reads at any width from 40 columns up.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunemill.events import CircuitChanged, Failed
from tunemill.model import Lane, Picodollars, RunState, usd
from tunemill.statistics import Money, RunStatistics
from tunemill.telemetry.display.pieces import Bar, Excerpt, Part, cleaned, cleaned_line
from tunemill.telemetry.display.view_training import add_later_phases
from tunemill.telemetry.recent import RecentEvents
from tunemill.telemetry.words import (
    budget_short_words,
    budget_words,
    circuit_words,
    dollars,
    duration,
    grace_words,
    in_flight_words,
    is_nearly_spent,
    percent,
    rate_words,
    rough_duration,
    spent_words,
    state_words,
    waiting_words,
)

_LABEL_COLUMNS = 9
_LAST_TEXT_LINES = 3
_FINE_TUNE_EVENTS_MAX = 4
_LAST_TEXT_CHARS_MAX = 1_000
_BUDGET_BAR_COLUMNS = 16
STATE_STYLES = {
    RunState.IDLE: "dim",
    RunState.RUNNING: "bold green",
    RunState.PAUSED: "bold yellow",
    RunState.DRAINING: "bold yellow",
    RunState.INTERRUPTED: "bold yellow",
    RunState.BUDGET_REACHED: "bold yellow",
    RunState.FINISHED: "bold green",
    RunState.FINISHED_WITH_FAILURES: "bold yellow",
    RunState.REFUSED: "bold red",
    RunState.FAILED: "bold red",
}


def live_frame(
    statistics: RunStatistics, recent: RecentEvents, *, elapsed_s: float, losses: Sequence[float]
) -> RenderableType:
    """What the display shows while the run goes on."""
    rows = _rows()
    _add_trouble(rows, statistics, recent)
    if statistics.requests.planned:
        rows.add_row("requests", _counts(statistics))
    _add_money(rows, statistics, recent)
    if _is_generating(statistics):
        _add_pace(rows, statistics)
    add_later_phases(rows, statistics, recent, losses, events_max=_FINE_TUNE_EVENTS_MAX)
    _add_failures(rows, recent)
    if _is_generating(statistics):
        _add_retries(rows, recent)
        _add_last_completion(rows, statistics, recent)
    return Group(_header(statistics, recent, elapsed_s), *_progress_bar(statistics), rows)


def final_frame(
    statistics: RunStatistics, recent: RecentEvents, *, elapsed_s: float, losses: Sequence[float]
) -> RenderableType:
    """What is left on the screen at the end: how it ended, what there is now, what it cost."""
    rows = _rows()
    _add_trouble(rows, statistics, recent)
    if statistics.requests.planned:
        rows.add_row("requests", _counts(statistics))
    _add_money(rows, statistics, recent)
    add_later_phases(rows, statistics, recent, losses, events_max=1)
    if statistics.requests.failed:
        _add_failures(rows, recent)
    return Group(_header(statistics, recent, elapsed_s), *_progress_bar(statistics), rows)


def _rows() -> Table:
    rows = Table.grid(padding=(0, 1), expand=True)
    rows.add_column(width=_LABEL_COLUMNS, style="dim", no_wrap=True)
    rows.add_column(ratio=1, overflow="fold")
    return rows


def _header(statistics: RunStatistics, recent: RecentEvents, elapsed_s: float) -> RenderableType:
    title = Text(statistics.run, style="bold", overflow="ellipsis")
    title.append("  ")
    title.append(state_words(statistics.state).upper(), style=STATE_STYLES[statistics.state])
    if statistics.simulated:
        title.append("  simulated", style="magenta")
    header = Table.grid(padding=(0, 1), expand=True)
    header.add_column(ratio=1)
    header.add_column(justify="right", style="dim", no_wrap=True)
    header.add_row(title, _times(statistics, elapsed_s))
    reason = "" if recent.state is None else cleaned_line(recent.state.reason)
    said = [
        Text(words, style=style)
        for words, style in ((reason, "italic"), (grace_words(statistics), "bold yellow"))
        if words
    ]
    return Group(header, *said) if said else header


def _times(statistics: RunStatistics, elapsed_s: float) -> str:
    elapsed = rough_duration(elapsed_s)
    if statistics.eta_s is None or not _is_generating(statistics):
        return elapsed
    return f"{elapsed}, ETA {rough_duration(statistics.eta_s)}"


def _progress_bar(statistics: RunStatistics) -> Sequence[RenderableType]:
    """The bar with how far it is beside it; nothing where there is nothing to generate."""
    counts = statistics.requests
    if counts.planned == 0:
        return ()
    done = counts.completed + counts.failed
    words = f"{done:,}/{counts.planned:,}  {percent(done, counts.planned)}"
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        Bar(
            (
                Part(counts.completed / counts.planned, "#", "█", "green"),
                Part(counts.failed / counts.planned, "x", "▓", "red"),
                Part(counts.in_flight / counts.planned, "-", "▒", "cyan"),
            )
        ),
        Text(words, style="bold"),
    )
    return (line,)


def _is_generating(statistics: RunStatistics) -> bool:
    return statistics.requests.waiting + statistics.requests.in_flight > 0


def _counts(statistics: RunStatistics) -> Text:
    counts = statistics.requests
    words = Text(f"{counts.completed:,} completed")
    words.append(", ").append(f"{counts.failed:,} failed", style="red" if counts.failed else "")
    if counts.in_flight or counts.waiting:
        words.append(f", {in_flight_words(statistics)}, {counts.waiting:,} waiting")
    return words


def _add_pace(rows: Table, statistics: RunStatistics) -> None:
    rows.add_row("rate", Text("\n").join(Text(line) for line in rate_words(statistics)))
    if statistics.grace_left_s is None and (waiting := waiting_words(statistics.waiting_for)):
        rows.add_row("waits for", Text(waiting))


def _add_trouble(rows: Table, statistics: RunStatistics, recent: RecentEvents) -> None:
    """What nobody may overlook."""
    loud = "not dim bold white on red"
    for lane, circuit in recent.circuits.items():
        rows.add_row(Text(" TROUBLE ", style=loud), Text(_circuit_words(lane, circuit), style="bold red"))
    if statistics.circuits_open and not recent.circuits:
        words = "the provider keeps failing: sending slowly until it answers again"
        rows.add_row(Text(" TROUBLE ", style=loud), Text(words, style="bold red"))


def _circuit_words(lane: Lane, circuit: CircuitChanged) -> str:
    return circuit_words(_lane(lane), circuit.failures, cleaned_line(circuit.reason))


def _add_money(rows: Table, statistics: RunStatistics, recent: RecentEvents) -> None:
    money = statistics.money
    spent = Text(spent_words(money))
    if statistics.simulated:
        spent.append("  simulated", style="magenta")
    rows.add_row("dollars", spent)
    rows.add_row("budget", _budget(money, is_generating=_is_generating(statistics)))
    if recent.budget_short is not None and _is_generating(statistics):
        rows.add_row("", Text(budget_short_words(recent.budget_short), style="yellow"))


def _budget(money: Money, *, is_generating: bool) -> RenderableType:
    words = Text(budget_words(money))
    if money.budget is None or money.budget == 0:
        return words
    if money.forecast is not None and money.forecast > money.budget:
        words.stylize("yellow")
    if is_generating and is_nearly_spent(money):
        words.append("  NEARLY SPENT", style="not dim bold yellow")
    line = Table.grid(padding=(0, 1))
    line.add_column(width=_BUDGET_BAR_COLUMNS)
    line.add_column()
    line.add_row(Bar(_money_parts(money, money.budget)), words)
    return line


def _money_parts(money: Money, budget: Picodollars) -> tuple[Part, ...]:
    return (
        Part(usd(money.settled) / usd(budget), "#", "█", "green"),
        Part(usd(money.uncertain) / usd(budget), "?", "▓", "yellow"),
        Part(usd(money.reserved) / usd(budget), "-", "▒", "cyan"),
    )


def _add_failures(rows: Table, recent: RecentEvents) -> None:
    for number, failure in enumerate(reversed(recent.failures)):
        rows.add_row("" if number else "failures", _failure(failure))


def _failure(failure: Failed) -> Text:
    line = Text(overflow="ellipsis", no_wrap=True)
    line.append(f"{failure.kind.value} ", style="bold red")
    line.append(f"{failure.step}: {_given_up(failure.attempts)}. ")
    return line.append(cleaned_line(failure.message), style="dim")


def _given_up(attempts: int) -> str:
    match attempts:
        case 0:
            return "never sent"
        case 1:
            return "given up after 1 attempt"
        case _:
            return f"given up after {attempts} attempts"


def _add_retries(rows: Table, recent: RecentEvents) -> None:
    """How often it had to try again in this process, and why the last time."""
    retry = recent.retry
    if retry is None:
        return
    rows.add_row("retries", Text(", ".join(f"{kind} {count:,}" for kind, count in recent.retries.most_common())))
    line = Text(f"{retry.step}: again in {duration(retry.delay_s)}. ", overflow="ellipsis", no_wrap=True)
    rows.add_row("", line.append(cleaned_line(retry.message), style="dim"))


def _add_last_completion(rows: Table, statistics: RunStatistics, recent: RecentEvents) -> None:
    completed = recent.completed
    if completed is None:
        return
    tokens = "" if completed.usage is None else f", {completed.usage.output:,} tokens"
    cost = dollars(completed.cost) + (" simulated" if statistics.simulated else "")
    outcome = cleaned_line(completed.outcome)
    rows.add_row("last", Text(f"{completed.step}: {outcome}{tokens}, {cost}, {duration(completed.duration_s)}"))
    rows.add_row("", Excerpt(cleaned(completed.text, _LAST_TEXT_CHARS_MAX), lines=_LAST_TEXT_LINES))


def _lane(lane: Lane) -> str:
    return f"{lane.provider}/{lane.model}" if lane.provider else lane.model
