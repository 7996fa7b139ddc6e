"""Which rows of the source are done with: every place of theirs is completed or failed for good.

Rows are settled out of order. So what is known at any moment is how many rows were walked, and which of those are not
settled yet: as few as there are requests under way. A process that goes on from there looks at these again, and at what
comes after, and takes the others as counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How far a walk has come. The first `walked` rows of the source are settled but for `unsettled` ones.

    Rows are numbered as the source gives them, copies of earlier ones included; positions leave the copies out.
    `unsettled` are numbers with positions, in order. The counts are of the settled rows' places alone. `is_whole`:
    there is no further row.
    """

    walked: int = 0
    positions: int = 0
    duplicates: int = 0
    unsettled: Sequence[tuple[int, int]] = ()
    completed: int = 0
    failed: int = 0
    completed_by_step: Mapping[str, int] = field(default_factory=dict)
    failed_by_step: Mapping[str, int] = field(default_factory=dict)
    is_whole: bool = False


@dataclass(slots=True, kw_only=True)
class _Open:
    number: int
    position: int
    places_left: int
    completed_by_step: dict[str, int] = field(default_factory=dict)
    failed_by_step: dict[str, int] = field(default_factory=dict)


class SettledRows:
    """Counts rows as their places come to an end. What was settled before is `before`."""

    __slots__ = (
        "_completed_by_step",
        "_duplicates",
        "_failed_by_step",
        "_not_reached",
        "_open",
        "_places_a_row",
        "_positions",
        "_walked",
    )

    def __init__(self, places_a_row: int, before: Settled) -> None:
        self._places_a_row = places_a_row
        self._walked = before.walked
        self._positions = before.positions
        self._duplicates = before.duplicates
        self._completed_by_step = Counter(before.completed_by_step)
        self._failed_by_step = Counter(before.failed_by_step)
        self._not_reached = dict(before.unsettled)  # those that are to be looked at again, until they are
        self._open: dict[str, _Open] = {}

    def began(self, row_id: str, number: int, position: int) -> None:
        """A row is about to be worked on."""
        self._not_reached.pop(number, None)
        self._walked = max(self._walked, number + 1)
        self._positions = max(self._positions, position + 1)
        if self._places_a_row:
            self._open[row_id] = _Open(number=number, position=position, places_left=self._places_a_row)

    def was_copy(self, number: int) -> None:
        """The row was there before."""
        self._not_reached.pop(number, None)
        self._walked = max(self._walked, number + 1)
        self._duplicates += 1

    def completed(self, row_id: str, step: str) -> None:
        """A place of the row is completed."""
        row = self._open[row_id]
        row.completed_by_step[step] = row.completed_by_step.get(step, 0) + 1
        self._one_less(row_id, row)

    def failed(self, row_id: str, step: str) -> None:
        """A place of the row is failed for good."""
        row = self._open[row_id]
        row.failed_by_step[step] = row.failed_by_step.get(step, 0) + 1
        self._one_less(row_id, row)

    def _one_less(self, row_id: str, row: _Open) -> None:
        row.places_left -= 1
        if not row.places_left:
            del self._open[row_id]
            for step, count in row.completed_by_step.items():
                self._completed_by_step[step] += count
            for step, count in row.failed_by_step.items():
                self._failed_by_step[step] += count

    def now(self, *, is_whole: bool) -> Settled:
        """How far it is."""
        still_open = ((row.number, row.position) for row in self._open.values())
        return Settled(
            walked=self._walked,
            positions=self._positions,
            duplicates=self._duplicates,
            unsettled=tuple(sorted((*still_open, *self._not_reached.items()))),
            completed=self._completed_by_step.total(),
            failed=self._failed_by_step.total(),
            completed_by_step=dict(self._completed_by_step),
            failed_by_step=dict(self._failed_by_step),
            is_whole=is_whole,
        )
