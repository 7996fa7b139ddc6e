"""Drawing some of many without walking them all and without remembering which: a permutation that can be asked.

`Draw` shuffles 0..size-1 by a small Feistel network over two near-equal halves (mixed radix, so that hardly any value
falls outside). Place `k` of the shuffled order costs the same for ten cells and for 10^12, needs no memory, and the
shuffle can be undone, which tells whether a row that streams by was drawn. The first 256 drawn are the same whether 256
or 512 are asked for, so that a larger sample pays nothing twice.

See M. Luby and C. Rackoff (1988) for the network, J. Black and P. Rogaway (2002) for halves of any size and for walking
on until the value is inside. This is not encryption, and need not be.
"""

from collections.abc import Iterator
from hashlib import blake2b
from math import isqrt

_ROUNDS = 6
_MASK = 2**64 - 1


class Draw:
    """The first `count` places of a seeded shuffle of 0..size-1."""

    __slots__ = ("_high", "_keys", "_low", "count", "size")

    def __init__(self, *, size: int, count: int, seed: int) -> None:
        self.size = size
        self.count = min(count, size)
        self._low = max(isqrt(max(size - 1, 0)) + 1, 2)
        self._high = max(-(-size // self._low), 1)
        digest = blake2b(f"{seed}/{size}".encode(), digest_size=8 * _ROUNDS, person=b"tunemill-draw").digest()
        self._keys = tuple(int.from_bytes(digest[at : at + 8]) for at in range(0, len(digest), 8))

    def __iter__(self) -> Iterator[int]:
        """The drawn indices, in the order in which they are drawn."""
        return (self._forward(place) for place in range(self.count))

    def __getitem__(self, place: int) -> int:
        """The index that is drawn in this place, counted from 0."""
        return self._forward(place)

    def __contains__(self, index: int) -> bool:
        """Whether `index` (within the size) is among the drawn ones."""
        return self._backward(index) < self.count

    def _forward(self, value: int) -> int:
        while True:
            high, low = divmod(value, self._low)
            for key in self._keys[::2]:
                high = (high + _mixed(low, key)) % self._high
                low = (low + _mixed(high, key >> 1)) % self._low
            value = high * self._low + low
            if value < self.size:
                return value

    def _backward(self, value: int) -> int:
        while True:
            high, low = divmod(value, self._low)
            for key in reversed(self._keys[::2]):
                low = (low - _mixed(high, key >> 1)) % self._low
                high = (high - _mixed(low, key)) % self._high
            value = high * self._low + low
            if value < self.size:
                return value


def _mixed(value: int, key: int) -> int:
    """64 well-mixed bits (the finaliser of SplitMix64)."""
    value = (value ^ key) * 0x9E3779B97F4A7C15 & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
