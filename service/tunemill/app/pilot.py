"""The pilot: answers are shown as they arrive, each with the prompt that brought it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from tunemill.errors import RunFolderError
from tunemill.events import Completed, Event, Subscriber
from tunemill.journal import Journal
from tunemill.telemetry import Display, completion_panel, make_console


def show_pilot(journal: Journal, show: Callable[[RenderableType], None], *, simulated: bool) -> Subscriber:
    """A subscriber that shows every completion."""

    def subscriber(event: Event) -> None:
        if isinstance(event, Completed):
            show(completion_panel(event, prompt=prompt_of(journal, event.request_id), simulated=simulated))

    return subscriber


def prompt_of(journal: Journal, request_id: str) -> str:
    """What was asked in this request; "" where the journal does not say, or cannot be read."""
    known = journal.index.request(request_id)
    if known is None or not known.sent.length:
        return ""
    try:
        return prompt_text(journal.reader.read(known.sent).get("body"))
    except (RunFolderError, OSError):  # whoever shows it goes on; whoever works with the journal will say it
        return ""


def pilot_printer(display: Display) -> Callable[[RenderableType], None]:
    """Where the pilot's answers go: they are data, so to stdout; above the live picture where that is the same screen.

    A reader of stdout who has seen enough ends the showing and not the run.
    """
    if display.is_live and sys.stdout.isatty():
        return display.print
    console = make_console(sys.stdout)

    def show(renderable: RenderableType) -> None:
        if not console.quiet:
            try:
                console.print(renderable)
            except OSError:
                console.quiet = True

    return show


def prompt_text(body: Mapping[str, Any] | None) -> str:
    """What was asked, for a person: every message with its role, or the plain prompt."""
    if body is None:
        return ""
    messages = body.get("messages")
    if not isinstance(messages, Sequence):
        return str(body.get("prompt", ""))
    if len(messages) == 1:
        return str(messages[0].get("content", ""))
    return "\n\n".join(f"{message.get('role')}: {message.get('content')}" for message in messages)
