"""Which file an example belongs to: train or validation. It knows neither files nor formats.

Three things are promised at once:

1. **Stable.** An example's side is decided by a hash of the seed and of its row's training prompt, so rows that are
   added, removed or reordered move nothing; and raising the fraction only moves examples towards validation.
2. **The same training prompt is never on both sides.** Rows with equal prompts have equal hashes. That is why the hash
   covers the prompt and not the row's id, which would part two rows that ask the same.
3. **The same row is never on both sides.** All samples of a row go where its first sample's prompt says.

Usually a row's samples share one prompt and nothing more is needed. Where a template makes them differ (it reads
`sample`, `entropy` or an earlier step's text), 2 and 3 can contradict each other: a later sample of one row may ask
what another row, on the other side, asks. No side is right for that example, and moving its row would break 1, so the
later one is left out by name (`split_conflict`). Knowing that costs some 30 bytes for each distinct prompt.
"""

from array import array
from enum import Enum
from hashlib import blake2b

from tunemill.dataset.clean import Rejected
from tunemill.dataset.digests import DIGEST_BYTES, DigestIndex


class Side(Enum):
    """The two files of a dataset."""

    TRAIN = "train"
    VALIDATION = "validation"


def prompt_digest(prompt: bytes, *, seed: int) -> bytes:
    """What stands for a prompt in all that is decided here. Nothing else of the split needs the prompt or the seed."""
    return blake2b(b"tunemill split %d\n" % seed + prompt, digest_size=DIGEST_BYTES).digest()


_SIDES = (Side.TRAIN, Side.VALIDATION)


class Splitter:
    """Decides sides for rows that arrive one after the other, all samples of a row in succession."""

    __slots__ = ("_claims", "_row_id", "_row_side", "_sides", "_threshold")

    def __init__(self, *, fraction: float) -> None:
        assert 0 <= fraction < 1, fraction
        self._threshold = int(fraction * 2**64)
        self._claims = DigestIndex()
        self._sides = array("B")
        self._row_id = ""
        self._row_side = Side.TRAIN

    def side_of(self, row_id: str, prompt: bytes) -> Side:
        """The side of a row, by its first sample's prompt, of which `prompt` is the digest.

        To be asked for every example that could be formatted, also for one that is then left out as a duplicate:
        which examples are duplicates depends on other rows, and a row's side must not.
        """
        if row_id != self._row_id and self._threshold:
            self._row_id = row_id
            self._row_side = self._hashed_side(prompt)
        return self._row_side

    def claim(self, prompt: bytes, side: Side) -> Rejected | None:
        """Write down that the prompt with this digest is now in this file; the objection, where it is already in the
        other one."""
        if self._threshold == 0:
            return None
        number = self._claims.number_of(prompt)
        if number == len(self._sides):
            self._sides.append(_SIDES.index(side))
            return None
        earlier = _SIDES[self._sides[number]]
        if earlier is side:
            return None
        detail = (
            f"another row put the same prompt into the {earlier.value} file, and this row's examples are {side.value}"
        )
        return Rejected(rule="split_conflict", detail=detail)

    def _hashed_side(self, digest: bytes) -> Side:
        return Side.VALIDATION if int.from_bytes(digest[:8], "big") < self._threshold else Side.TRAIN
