"""Decides for each candidate, in source order, whether it is kept, and in which file. It writes nothing."""

from array import array
from dataclasses import dataclass
from typing import TypeAlias

from tunemill.dataset.assemble import Assembler
from tunemill.dataset.clean import Rejected
from tunemill.dataset.digests import DIGEST_BYTES, DigestIndex, digest_of
from tunemill.dataset.formats import Example
from tunemill.dataset.split import Side, Splitter
from tunemill.frozen import quickly_made
from tunemill.model import Candidate


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An example and its file. `digest` is of its line."""

    example: Example
    side: Side
    digest: bytes


Decision: TypeAlias = Placed | Rejected


class Selector:
    """Assembles, then leaves out exact duplicates, then splits.

    The first of several equal examples is kept. Remembering them costs about 50 bytes for each example kept or not.
    """

    __slots__ = ("_assembler", "_examples", "_last_position", "_positions", "_row_ids", "_splitter")

    def __init__(self, *, assembler: Assembler, splitter: Splitter) -> None:
        self._assembler = assembler
        self._splitter = splitter
        self._examples = DigestIndex()
        self._positions = array("Q")
        self._row_ids = bytearray()
        self._last_position = 0

    def decide(self, candidate: Candidate) -> Decision:
        """Candidates come in source order, all samples of a row in succession."""
        assert candidate.position >= self._last_position, "candidates come in source order"
        self._last_position = candidate.position
        example = self._assembler.assemble(candidate)
        if isinstance(example, Rejected):
            return example
        side = self._splitter.side_of(candidate.row.id, example.prompt)
        digest = digest_of(example.line)
        objection = self._duplicate(candidate, digest) or self._splitter.claim(example.prompt, side)
        return objection or Placed(example=example, side=side, digest=digest)

    def _duplicate(self, candidate: Candidate, digest: bytes) -> Rejected | None:
        known = len(self._positions)
        number = self._examples.number_of(digest)
        if number == known:
            self._positions.append(candidate.position)
            self._row_ids += _packed(candidate.row.id)
            return None
        first = self._row_ids[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES].hex()
        if first == candidate.row.id:
            return Rejected(rule="duplicate", detail="repeats an earlier sample of the same row word for word")
        detail = (
            f"repeats the example of row {first} (number {self._positions[number] + 1:,} of the source) word for word"
        )
        return Rejected(rule="duplicate", detail=detail)


def _packed(row_id: str) -> bytes:
    packed = bytes.fromhex(row_id)
    assert len(packed) == DIGEST_BYTES, row_id
    return packed
