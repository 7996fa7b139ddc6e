"""`report.html`: the report as one page for people, self-contained, without script, fit for a phone and for the dark.

What models answered is untrusted text: everything is escaped, the page's own policy forbids it to load or run anything,
and characters that could turn a line around or hide in it are shown by their names.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from tunemill.dataset.lengths import Lengths
from tunemill.dataset.report import Report
from tunemill.hidden import unhidden
from tunemill.model import Picodollars, usd

TEMPLATE_FILE = "report.html.jinja"

_PLOT_WIDTH = 1000.0
_PLOT_HEIGHT = 220.0
_TICKS_MAX = 6


def page_of(report: Report) -> bytes:
    """The whole page, in UTF-8. It says nothing that `report.json` does not."""
    text = _template().render(
        report=report,
        figures=report.figures,
        statistics=report.facts.statistics,
        flow=tuple(_flow(report)),
        rules=_shares(report.figures.rejected_by_rule, report.figures.candidates),
        failures=_shares({kind.value: count for kind, count in report.facts.failures.items()}, None),
        reasons=_reasons(report),
        plot=_plot(report.figures.lengths),
        left_out=percent(report.figures.rejected, report.figures.candidates),
    )
    return text.encode("utf-8", "replace")


def dollars(amount: Picodollars) -> str:
    """In cents from a dollar on; below, with the places that it needs, up to a millionth."""
    value = usd(amount)
    if value >= 1 or amount == 0:
        return f"${value:,.2f}"
    whole, places = f"{value:.{4 if value >= 0.01 else 6}f}".split(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"


def percent(part: int, whole: int) -> str:
    """A share with one place, and never all or nothing where it is only nearly so."""
    if whole == 0:
        return "–"
    share = 100 * part / whole
    return f"{share:.0f} %" if share in (0.0, 100.0) else f"{min(max(share, 0.1), 99.9):.1f} %"


def file_size(size: int) -> str:
    """Bytes in the largest unit that leaves a number of at least one."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size:,} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of the flow. `parts` are (colour class, width in percent); `note` is what it means."""

    label: str
    count: int
    note: str
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A name with its count and its share in percent."""

    name: str
    count: int
    percent: str
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the histogram in the plot's own units, and what it counts."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The histogram. Ticks and marks are (place in percent, label)."""

    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...]
    most: int


def _flow(report: Report) -> Iterator[tuple[str, tuple[Bar, ...]]]:
    requests, figures = report.facts.statistics.requests, report.figures
    if requests.planned:
        unfinished = requests.waiting + requests.in_flight
        bars = [_bar("planned", requests.planned, requests.planned, "plain")]
        bars.append(_bar("completed", requests.completed, requests.planned, "good"))
        bars += [_bar("failed for good", requests.failed, requests.planned, "bad")] if requests.failed else []
        bars += [_bar("not yet answered", unfinished, requests.planned, "wait")] if unfinished else []
        yield "Requests", tuple(bars)
    bars = [_bar("candidates", figures.candidates, figures.candidates, "plain")]
    bars += [_bar("left out", figures.rejected, figures.candidates, "bad")] if figures.rejected else []
    yield "Examples", (*bars, *_kept_bars(report))


def _kept_bars(report: Report) -> Iterator[Bar]:
    """Kept, in the colours of its two files; then each of them in its place below."""
    figures = report.figures
    train = _bar("for training", figures.train, figures.candidates, "train")
    validation = _bar("for validation", figures.validation, figures.candidates, "validation")
    kept = _bar("kept", figures.kept, figures.candidates, "train")
    yield dataclasses.replace(kept, parts=train.parts + validation.parts)
    yield train
    if figures.validation:
        yield dataclasses.replace(validation, parts=(("none", train.parts[0][1]), *validation.parts))


def _bar(label: str, count: int, whole: int, colour: str) -> Bar:
    width = 100 * count / whole if whole else 0.0
    return Bar(label=label, count=count, note=percent(count, whole), parts=((colour, width),))


def _shares(counts: Mapping[str, int], whole: int | None) -> tuple[Share, ...]:
    """The largest first. Bars are relative to the largest, percentages to the whole (their sum where it is None)."""
    total = sum(counts.values()) if whole is None else whole
    largest = max(counts.values(), default=0) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Share(name=name, count=count, percent=percent(count, total), width=100 * count / largest)
        for name, count in ordered
        if count
    )


def _reasons(report: Report) -> tuple[tuple[str, tuple[Share, ...]], ...]:
    by_step: dict[str, dict[str, int]] = {}
    for (step, reason), count in report.figures.finish_reasons.items():
        by_step.setdefault(step, {})[reason] = count
    return tuple((step, _shares(counts, None)) for step, counts in by_step.items())


def _plot(lengths: Lengths) -> Plot:
    bins = lengths.bins
    if not bins:
        return Plot(columns=(), ticks=(), marks=(), most=0)
    start, end = bins[0].start, bins[-1].end
    most = max(one.count for one in bins)
    wide = _PLOT_WIDTH / len(bins)
    columns = tuple(
        Column(
            x=round(index * wide + wide * 0.06, 2),
            y=round(_PLOT_HEIGHT * (1 - one.count / most), 2),
            width=round(wide * 0.88, 2),
            height=round(_PLOT_HEIGHT * one.count / most, 2),
            title=f"{one.start:,} to {one.end - 1:,} characters: {one.count:,}",
        )
        for index, one in enumerate(bins)
    )

    def place(length: int) -> float:
        return round(100 * (length - start) / (end - start), 2)

    every = -(-len(bins) // _TICKS_MAX)
    edges = [one.start for one in bins[::every]]
    return Plot(
        columns=columns,
        ticks=tuple((place(edge), f"{edge:,}") for edge in edges),
        marks=tuple((place(length), name) for length, name in _marks(lengths)),
        most=most,
    )


def _marks(lengths: Lengths) -> tuple[tuple[int, str], ...]:
    return (lengths.p5, "5 %"), (lengths.median, "median"), (lengths.p95, "95 %")


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        harmless=unhidden, dollars=dollars, file_size=file_size, number=lambda count: f"{count:,}"
    )
    return environment.from_string(resources.files(__package__).joinpath(TEMPLATE_FILE).read_text("utf-8"))
