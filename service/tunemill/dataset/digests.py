"""Remembers which 16-byte digests were seen, in about 30 bytes each.

A dict of bytes needs five times as much, and a build of a million examples keeps two of these. Open addressing in
plain arrays; it knows nothing of what the digests stand for.
"""

import struct
from array import array
from hashlib import blake2b

DIGEST_BYTES = 16

_SLOTS_AT_FIRST = 1 << 10
_HALVES = struct.Struct("<QQ")


def digest_of(content: bytes) -> bytes:
    """16 bytes of BLAKE2b: two different contents share them by accident never, in practice."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


class DigestIndex:
    """Numbers digests from 0 in the order in which they are first seen.

    What the caller wants to know about a digest it keeps in a sequence of its own, under the same number.
    """

    __slots__ = ("_high", "_low", "_mask", "_slots")

    def __init__(self) -> None:
        self._low = array("Q")
        self._high = array("Q")
        self._slots = array("I", bytes(4 * _SLOTS_AT_FIRST))
        self._mask = _SLOTS_AT_FIRST - 1

    def __len__(self) -> int:
        return len(self._low)

    def number_of(self, digest: bytes) -> int:
        """The number of a digest; a new one gets the next, which is what `len` was before the call."""
        low, high = _HALVES.unpack(digest)
        slots, mask, slot = self._slots, self._mask, low & self._mask
        while (entry := slots[slot]) != 0:
            if self._low[entry - 1] == low and self._high[entry - 1] == high:
                return int(entry) - 1
            slot = (slot + 1) & mask
        number = len(self._low)
        self._low.append(low)
        self._high.append(high)
        slots[slot] = number + 1
        if 2 * (number + 1) > mask:
            self._grow()
        return number

    def __contains__(self, digest: bytes) -> bool:
        low, high = _HALVES.unpack(digest)
        slot = low & self._mask
        while (entry := self._slots[slot]) != 0:
            if self._low[entry - 1] == low and self._high[entry - 1] == high:
                return True
            slot = (slot + 1) & self._mask
        return False

    def _grow(self) -> None:
        size = 2 * len(self._slots)
        mask = size - 1
        slots = array("I", bytes(4 * size))
        for number, low in enumerate(self._low, start=1):
            slot = low & mask
            while slots[slot] != 0:
                slot = (slot + 1) & mask
            slots[slot] = number
        self._slots, self._mask = slots, mask
