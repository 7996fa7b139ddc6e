"""A picture that is drawn again and again in the same place, also where the terminal's size changes in between.

A terminal that is made narrower breaks the lines that stand on it, so that the picture takes more rows than it had when
it was drawn. Whoever draws over it then has to begin higher up.
"""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment

_ROW_UP = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))


class Redrawn:
    """What is drawn, no higher than the terminal, with how wide its lines were."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable
        self.line_widths: tuple[int, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._renderable, options, pad=False)[: options.size.height]
        self.line_widths = tuple(map(Segment.get_line_length, lines))
        for line in lines:
            yield from line
            yield Segment.line()

    def rows_more(self, width: int) -> int:
        """How many rows more it takes on a terminal of that width than when it was drawn."""
        return sum(max(0, -(-columns // width) - 1) for columns in self.line_widths)


def clear_reflowed(console: Console, last: Redrawn) -> None:
    """Go up over the rows that the picture has more now, clearing them."""
    more = last.rows_more(console.width)
    if more:
        console.control(Control(ControlType.CARRIAGE_RETURN, *_ROW_UP * more))
