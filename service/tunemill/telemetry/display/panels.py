"""A completion in a frame, with the prompt that brought it: for the pilot and for `show`."""

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.panel import Panel
from rich.text import Text

from tunemill.events import Completed
from tunemill.telemetry.display.pieces import cleaned, cleaned_line
from tunemill.telemetry.words import dollars, duration

_PANEL_CHARS_MAX = 20_000
_PANEL_COLUMNS_MAX = 110  # longer lines are hard to read


def completion_panel(completed: Completed, *, prompt: str, simulated: bool) -> RenderableType:
    """One completion with the prompt that brought it, for the pilot."""
    tokens = "" if completed.usage is None else f", {completed.usage.input:,} + {completed.usage.output:,} tokens"
    cost = dollars(completed.cost) + (" simulated" if simulated else "")
    return answer_panel(
        title=f"{completed.step} {completed.row_id[:8]}",
        prompt=prompt,
        text=completed.text,
        footer=f"{completed.outcome}{tokens}, {cost}, {duration(completed.duration_s)}",
    )


def answer_panel(*, title: str, prompt: str, text: str, footer: str) -> RenderableType:
    """A prompt and the answer to it in a frame; both are cleaned here and cut at 20,000 characters."""
    shown_prompt = Text(cleaned(prompt, _PANEL_CHARS_MAX).strip(), style="dim")
    shown_text = Text(cleaned(text, _PANEL_CHARS_MAX).strip() or "(no text)")
    panel = Panel(
        Group(shown_prompt, Text(""), shown_text, Text(""), Text(cleaned_line(footer), style="dim", justify="right")),
        title=Text(cleaned_line(title), style="bold"),
        title_align="left",
        border_style="dim",
    )
    return Constrain(panel, _PANEL_COLUMNS_MAX)
