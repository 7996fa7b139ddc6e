"""How far whoever wrote the journal had come, so that the next process need not look again at what is settled.

A snapshot keeps it, and every few thousand lines the journal itself does: what was settled since the last snapshot is
then known as well. Such a line says nothing that the lines before it do not bear out, and is believed only where they
are all there, which their number tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunemill.journal.lines import Line, Marked, Opened, Repaired


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far whoever wrote the journal had come: for the same `inputs`, what `walk` says need not be looked at again.

    The journal keeps it and knows nothing of what it says, but that it is void as soon as a process begins to write
    that has other inputs, and when lines were lost.
    """

    inputs: str
    walk: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class LastMark:
    """The mark that holds, line after line. `lines` is how many lines were taken into account."""

    mark: Mark | None = None
    lines: int = 0

    def take(self, line: Line, *, uncounted: int = 0) -> None:
        """Take one more line into account; `uncounted` lines stand before it that were not yet."""
        if isinstance(line, Marked):
            is_borne_out = line.lines == self.lines + uncounted
            self.mark = Mark(inputs=line.inputs, walk=line.walk) if is_borne_out else None
        elif isinstance(line, Repaired) or (isinstance(line, Opened) and self._inputs != line.inputs):
            self.mark = None
        self.lines += 1

    @property
    def _inputs(self) -> str | None:
        return None if self.mark is None else self.mark.inputs
