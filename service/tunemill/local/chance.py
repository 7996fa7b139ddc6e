"""Randomness as a value. In deterministic mode it is a hash of the seed, the body and how often the body was seen."""

from dataclasses import dataclass
from hashlib import blake2b
from random import Random

_WORD = 8
_TOP = 1 << (8 * _WORD)


@dataclass(frozen=True, slots=True)
class Chance:
    """Independent numbers in [0, 1), by name: the same name always gives the same number."""

    seed: bytes

    def number(self, name: bytes) -> float:
        """The number that belongs to `name` (at most 16 bytes)."""
        word = blake2b(self.seed, digest_size=_WORD, person=name).digest()
        return int.from_bytes(word, "big") / _TOP

    def dice(self, name: bytes) -> Random:
        """A stream of numbers that belongs to `name`."""
        return Random(int.from_bytes(blake2b(self.seed, digest_size=_WORD, person=name).digest(), "big"))


class ChanceSource:
    """Where chances come from: a seed, or the operating system where `seed` is None (nothing repeats then)."""

    def __init__(self, seed: int | None) -> None:
        self._key = None if seed is None else seed.to_bytes(16, "big", signed=True)
        self._fresh = Random()

    def digest(self, endpoint: str, body: bytes) -> bytes:
        """What a body is known by in the books, and what deterministic chances start from. 16 bytes."""
        return blake2b(body, digest_size=16, person=endpoint[-16:].encode()).digest()

    def of_body(self, digest: bytes) -> Chance:
        """For what must be the same whenever this body is answered: text, length, usage."""
        return Chance(self._fresh.randbytes(32) if self._key is None else self._key + digest)

    def of_draw(self, digest: bytes, seen: int) -> Chance:
        """For what may differ when a body is sent again: faults and latency."""
        return Chance(self._fresh.randbytes(32) if self._key is None else self._key + digest + seen.to_bytes(8, "big"))
