"""What comes after generation, as rows of the picture: the dataset, the fine-tuning job, its loss."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tunemill.model import JsonObject, picodollars
from tunemill.statistics import RunStatistics
from tunemill.telemetry.display.pieces import cleaned_line, sparkline
from tunemill.telemetry.recent import RecentEvents
from tunemill.telemetry.words import counts_words, dollars, fine_tune_status


def add_later_phases(
    rows: Table, statistics: RunStatistics, recent: RecentEvents, losses: Sequence[float], *, events_max: int
) -> None:
    """Add a row for the dataset and rows for the fine-tuning job, as far as there are any."""
    if dataset := _dataset_words(statistics, recent):
        rows.add_row("dataset", Text(dataset))
    if statistics.fine_tune is None and not recent.fine_tune:
        return
    figures = statistics.fine_tune or {}
    rows.add_row("fine-tune", _fine_tune_words(figures, recent))
    for event in list(recent.fine_tune)[-events_max:]:
        rows.add_row(
            "", Text(cleaned_line(event.message or event.what), style="dim", overflow="ellipsis", no_wrap=True)
        )
    if losses:
        rows.add_row("loss", _loss(losses, figures))


def _dataset_words(statistics: RunStatistics, recent: RecentEvents) -> str:
    built = recent.dataset
    if built is not None:
        return f"{built.train:,} train, {built.validation:,} validation, {built.rejected:,} rejected"
    return "" if statistics.dataset is None else counts_words(statistics.dataset)


def _fine_tune_words(figures: JsonObject, recent: RecentEvents) -> Text:
    """Status, the fine-tuning job's id, the tuned model, dollars and what went wrong, as far as there is any of it.

    The last event is newer than the figures where both know the same.
    """
    last = recent.fine_tune[-1] if recent.fine_tune else None
    status = (None if last is None else last.status) or fine_tune_status(figures)
    words = Text(cleaned_line(status), style="bold")
    job = (None if last is None else last.fine_tuning_job_id) or figures.get("job_id")
    for detail in (job, figures.get("model"), _fine_tune_cost(figures)):
        if isinstance(detail, str) and detail:
            words.append(f"  {cleaned_line(detail)}", style="not bold")
    if isinstance(error := figures.get("error"), str) and error:
        words.append(f"  {cleaned_line(error)}", style="not bold red")
    return words


def _fine_tune_cost(figures: JsonObject) -> str:
    simulated = " simulated" if figures.get("simulated") else ""
    for key, about in (("usd", ""), ("usd_estimated", "about ")):
        amount = figures.get(key)
        if isinstance(amount, int | float):
            return f"{about}{dollars(picodollars(amount))}{simulated}"
    return ""


def _loss(losses: Sequence[float], figures: JsonObject) -> Text:
    words = Text(sparkline(losses), style="cyan")
    words.append(f"  {losses[0]:.3f} to {losses[-1]:.3f}", style="default")
    step, steps = figures.get("step"), figures.get("total_steps")
    if isinstance(step, int) and not isinstance(step, bool):
        words.append(f"  step {step:,}" + (f" of {steps:,}" if isinstance(steps, int) else ""), style="default")
    return words
