"""The latest completions with their prompts, as the page shows them: few, cut, and with nothing hidden in them.

Promises: hearing of a completion costs next to nothing, however many arrive; what is kept is bounded by PER_SECOND,
KEPT and the lengths below, whatever a model says.
"""

from collections import deque
from collections.abc import Callable, Sequence

from tunemill.events import Completed
from tunemill.hidden import unhidden
from tunemill.model import Json, JsonObject
from tunemill.telemetry.safe_text import mask_secrets
from tunemill.telemetry.words import dollars, duration

KEPT = 12
PER_SECOND = 4
TEXT_CHARS_MAX = 6_000
PROMPT_CHARS_MAX = 3_000
LABEL_CHARS_MAX = 200
MESSAGE_CHARS_MAX = 600


class LatestAnswers:
    """Hears of completions (`heard`), and once a second makes some of them fit to be shown (`take`)."""

    def __init__(self, prompt_of: Callable[[str], str]) -> None:
        """`prompt_of` gives the prompt of a request id, "" where there is none."""
        self._prompt_of = prompt_of
        self._picked: list[tuple[int, Completed]] = []
        self._kept: deque[JsonObject] = deque(maxlen=KEPT)
        self.arrived = 0
        self.shown = 0

    def heard(self, event: Completed) -> None:
        """One more. The first few of each second are picked."""
        self.arrived += 1
        if len(self._picked) < PER_SECOND:
            self._picked.append((self.arrived, event))

    def take(self, *, at: float, simulated: bool) -> Sequence[JsonObject]:
        """Those that were picked since the last call, as JSON, the oldest first. `at` is in Unix seconds."""
        picked, self._picked = self._picked, []
        new = [self._shown(number, event, at=at, simulated=simulated) for number, event in picked]
        self.shown += len(new)
        self._kept.extend(new)
        return new

    def kept(self) -> list[Json]:
        """The latest that were taken, the oldest first."""
        return list(self._kept)

    def _shown(self, number: int, event: Completed, *, at: float, simulated: bool) -> JsonObject:
        usage = event.usage
        text, text_cut = shown_text(event.text, TEXT_CHARS_MAX)
        prompt, prompt_cut = shown_text(self._prompt_of(event.request_id), PROMPT_CHARS_MAX)
        return {
            "number": number,
            "at": round(at, 1),
            "request": shown_line(event.request_id, 12),
            "row": shown_line(event.row_id, 12),
            "step": shown_line(event.step, LABEL_CHARS_MAX),
            "outcome": shown_line(event.outcome, LABEL_CHARS_MAX),
            "tokens": "tokens unknown" if usage is None else f"{usage.input:,} + {usage.output:,} tokens",
            "price": dollars(event.cost) + (" simulated" if simulated else ""),
            "duration": duration(event.duration_s),
            "prompt": prompt,
            "prompt_cut": prompt_cut,
            "text": text,
            "text_cut": text_cut,
        }


def shown_text(text: str, chars_max: int) -> tuple[str, int]:
    """The beginning of a text from outside, masked, with nothing hidden in it, and how many characters are left out."""
    return mask_secrets(unhidden(text[:chars_max])), max(0, len(text) - chars_max)


def shown_line(text: str, chars_max: int) -> str:
    """`shown_text` on one line; where it is cut it says so with dots."""
    looked_at = 4 * chars_max  # white space that is drawn together makes room for more
    shown, cut = shown_text(" ".join(text[:looked_at].split()), chars_max)
    return f"{shown} ..." if cut or len(text) > looked_at else shown
