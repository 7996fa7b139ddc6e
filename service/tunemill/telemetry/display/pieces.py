"""Pieces that pictures are made of: bars of several stretches, excerpts of fixed height, sparklines, clean text."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from tunemill.telemetry.safe_text import harmless, mask_secrets, one_line

_LINE_CHARS_MAX = 200
_MORE = " ..."
_LOSSES = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a bar: how much of the whole it is, and how it looks without and with Unicode."""

    share: float
    ascii_mark: str
    mark: str
    style: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of stretches one after the other; what is left of the whole stays empty. As wide as it may be."""

    parts: Sequence[Part]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ends = _ends([part.share for part in self.parts], options.max_width)
        start = 0
        for part, end in zip(self.parts, ends, strict=True):
            mark = part.ascii_mark if options.ascii_only else part.mark
            yield Segment(mark * (end - start), Style.parse(part.style))
            start = end
        yield Segment(("." if options.ascii_only else "░") * (options.max_width - start), Style.parse("dim"))
        yield Segment.line()


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The first lines of a text, wrapped to the width. Always the same height, so that what is live holds still."""

    text: str
    lines: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        paragraph = Text(" ".join(self.text.split()), style="italic")
        wrapped = paragraph.wrap(console, options.max_width)
        shown = list(wrapped[: self.lines])
        if len(wrapped) > self.lines:
            shown[-1].truncate(max(0, options.max_width - len(_MORE)), overflow="crop")
            shown[-1].append(_MORE)
        yield from shown
        yield from [Text("")] * (self.lines - len(shown))


def sparkline(values: Sequence[float]) -> str:
    """One character for each value, the lowest lowest. `values` is not empty."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_LOSSES[round((value - low) / span * (len(_LOSSES) - 1))] for value in values)


def cleaned(text: str, chars_max: int) -> str:
    """The first `chars_max` characters of a text from outside, without keys and without anything a terminal obeys."""
    return mask_secrets(harmless(text, chars_max=chars_max))


def cleaned_line(text: str) -> str:
    """`cleaned`, on one line of at most 200 characters."""
    return mask_secrets(one_line(text, chars_max=_LINE_CHARS_MAX))


def _ends(shares: Sequence[float], columns: int) -> Sequence[int]:
    """The column where each stretch ends: as its share says, but whatever is anything at all gets a column of its own,
    also at the expense of its neighbours, as long as there are columns."""
    ends = []
    end, reached = 0, 0.0
    for number, share in enumerate(shares):
        reached += share
        needed_later = sum(later > 0 for later in shares[number + 1 :])
        least = end + 1 if share > 0 else end
        end = max(least, min(round(reached * columns), columns - needed_later))
        ends.append(min(end, columns))
    return ends
