"""What the index was told and has not written to its tables yet: a few thousand entries in memory, written in one go.

Collecting them costs a dictionary entry each instead of a statement each. And while the tables are copied for a
snapshot they are left alone: whatever is put meanwhile waits here, and is seen by whoever asks all the same.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

RequestTuple: TypeAlias = tuple[int, int, int, int, int, int]  # state, attempts, place, length, sent place, sent length
SlotTuple: TypeAlias = tuple[int, int, int | None]  # request, row, parent
RowTuple: TypeAlias = tuple[int, int, int]  # place, length, position


@dataclass(slots=True)
class Pending:
    """Entries by key, each of them already all that was put since it was last written.

    Places are packed locations; a length of 0 says that nothing is known of that place, so that the older one stays.
    """

    requests: dict[int, RequestTuple] = field(default_factory=dict)
    rows: dict[int, RowTuple] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    slots: dict[int, SlotTuple] = field(default_factory=dict)

    def clear(self) -> None:
        """All of it was written."""
        for table in (self.requests, self.rows, self.positions, self.slots):
            table.clear()

    def put_sent(self, key: int, attempt: int, place: int, length: int, *, state: int) -> None:
        """The request is in `state` again; attempts never shrink, and the first place stays."""
        known = self.requests.get(key)
        self.requests[key] = sent = (state, attempt, 0, 0, place, length)
        if known is not None:
            self.requests[key] = merged_request(known, sent)

    def put_outcome(self, key: int, state: int, place: int, length: int) -> None:
        """The last one wins."""
        known = self.requests.get(key)
        self.requests[key] = outcome = (state, 0, place, length, 0, 0)
        if known is not None:
            self.requests[key] = merged_request(known, outcome)

    def put_row(self, key: int, place: int, length: int, position: int) -> None:
        """The row is at this position now."""
        known = self.rows.get(key)
        row = (place, length, position)
        self.rows[key] = row if known is None else merged_row(known, row)
        self.positions[position] = key


def merged_request(old: RequestTuple | None, new: RequestTuple) -> RequestTuple:
    """What is known of a request after something was put. The statement that writes it says the same."""
    if old is None:
        return new
    place, length = (new[2], new[3]) if new[3] else (old[2], old[3])
    sent_place, sent_length = (old[4], old[5]) if old[5] else (new[4], new[5])
    return (new[0], max(old[1], new[1]), place, length, sent_place, sent_length)


def merged_row(old: RowTuple | None, new: RowTuple) -> RowTuple:
    """What is known of a row after it was put."""
    if old is None or new[1]:
        return new
    return (old[0], old[1], new[2])
