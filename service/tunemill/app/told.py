"""What a run has told outside already, remembered in its folder: a restart loop must not say the same a hundred times.

A notice is no news where the last one of its kind had the same cause, and nothing was settled since then. What a run
that is started again and again might say at every start is no news within the hour, whatever was settled. Only what
arrived is remembered.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunemill.errors import RunFolderUnwritable
from tunemill.files import write_whole
from tunemill.telemetry.notices import Notice

FILE_NAME = "notified.json"
REPEATED_AFTER_S = 3600.0
_COMES_IN_LOOPS = frozenset({"started", "failed", "stalled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    at: float
    cause: str
    settled: int


class Told:
    """The memory. A file that cannot be read holds nothing, one that cannot be written changes nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._told = _read(self._path)

    def is_news(self, notice: Notice, *, settled: int, at: float) -> bool:
        """Whether it is to be told. `settled` is how many requests are completed or failed, `at` the time of day."""
        before = self._told.get(notice.kind)
        if before is None or before.cause != notice.cause:
            return True
        is_too_soon = notice.kind in _COMES_IN_LOOPS and 0 <= at - before.at < REPEATED_AFTER_S
        return before.settled != settled and not is_too_soon

    def remember(self, notice: Notice, *, settled: int, at: float) -> None:
        """It was told."""
        self._told[notice.kind] = _Told(at=at, cause=notice.cause, settled=settled)
        content = {of: {"at": told.at, "cause": told.cause, "settled": told.settled} for of, told in self._told.items()}
        try:
            write_whole(self._path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        except RunFolderUnwritable:  # whoever opens the folder next will say so, before anything is told
            return


def _read(path: Path) -> dict[str, _Told]:
    try:
        content: Any = orjson.loads(path.read_bytes())
        return {
            str(kind): _Told(at=float(told["at"]), cause=str(told["cause"]), settled=int(told["settled"]))
            for kind, told in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
