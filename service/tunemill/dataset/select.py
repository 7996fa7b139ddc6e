"""Decides for each example, in source order, whether it is kept, and in which file. It writes nothing."""

from array import array
from typing import TypeAlias

from tunemill.dataset.clean import Rejected
from tunemill.dataset.digests import DIGEST_BYTES, DigestIndex
from tunemill.dataset.judge import Ready
from tunemill.dataset.split import Side, Splitter

Decision: TypeAlias = Side | Rejected


class Selector:
    """Leaves out exact duplicates, then splits.

    The first of several equal examples is kept. Remembering them costs about 50 bytes for each example kept or not.
    """

    __slots__ = ("_examples", "_last_position", "_positions", "_row_ids", "_splitter")

    def __init__(self, *, splitter: Splitter) -> None:
        self._splitter = splitter
        self._examples = DigestIndex()
        self._positions = array("Q")
        self._row_ids = bytearray()
        self._last_position = 0

    def decide(self, example: Ready) -> Decision:
        """Examples come in source order, all samples of a row in succession."""
        assert example.position >= self._last_position, "examples come in source order"
        self._last_position = example.position
        side = self._splitter.side_of(example.row_id, example.prompt)
        return self._duplicate(example) or self._splitter.claim(example.prompt, side) or side

    def _duplicate(self, example: Ready) -> Rejected | None:
        known = len(self._positions)
        number = self._examples.number_of(example.digest)
        if number == known:
            self._positions.append(example.position)
            self._row_ids += _packed(example.row_id)
            return None
        first = self._row_ids[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES].hex()
        if first == example.row_id:
            return Rejected(rule="duplicate", detail="repeats an earlier sample of the same row word for word")
        detail = (
            f"repeats the example of row {first} (number {self._positions[number] + 1:,} of the source) word for word"
        )
        return Rejected(rule="duplicate", detail=detail)


def _packed(row_id: str) -> bytes:
    packed = bytes.fromhex(row_id)
    assert len(packed) == DIGEST_BYTES, row_id
    return packed
