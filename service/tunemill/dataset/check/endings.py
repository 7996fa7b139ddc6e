"""Finds the separator that ends a file's prompts, or the stop sequence that ends its completions, in one pass.

The longest ending that at least nine in ten texts share is taken for the mark; the others are named. What is kept is a
tally for each possible length against each of three reference texts (the first one may be the odd one out), so memory
does not depend on the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

MARK_CHARS_MAX = 40
LINES_NAMED_MAX = 20

_MARK_CHARS_MIN = 2
_REFERENCES = 3
_SHARE_PERCENT = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What most texts end with ("": nothing), how many do not, and the first lines of those."""

    mark: str
    odd: int
    odd_lines: tuple[int, ...]


@dataclass(slots=True)
class Endings:
    """Texts go in one by one; `found` says what they end with."""

    _references: list["_Reference"] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """Count one text."""
        for reference in self._references:
            reference.count(line, text)
        if len(self._references) < _REFERENCES:
            self._refer_to(line, text[-MARK_CHARS_MAX:])

    def found(self) -> Ending:
        """The mark, by the reference that explains most; the longer one where two explain the same."""
        endings = [reference.ending() for reference in self._references]
        return max(endings, key=lambda ending: (bool(ending.mark), -ending.odd, len(ending.mark)), default=_NOTHING)

    def _refer_to(self, line: int, tail: str) -> None:
        """A reference counts the earlier ones too, so that each has seen every text."""
        earlier = [(reference.line, reference.tail) for reference in self._references]
        added = _Reference(line=line, tail=tail)
        for earlier_line, earlier_tail in [*earlier, (line, tail)]:
            added.count(earlier_line, earlier_tail)
        self._references.append(added)


_NOTHING = Ending(mark="", odd=0, odd_lines=())


@dataclass(slots=True)
class _Reference:
    line: int
    tail: str
    counts: list[int] = field(default_factory=lambda: [0] * (MARK_CHARS_MAX + 1))
    lines: dict[int, list[int]] = field(default_factory=dict)

    def count(self, line: int, text: str) -> None:
        shared = len(self.tail) if text.endswith(self.tail) else _shared_ending(self.tail, text)
        self.counts[shared] += 1
        named = self.lines.setdefault(shared, [])
        if len(named) < LINES_NAMED_MAX:
            named.append(line)

    def ending(self) -> Ending:
        for length, sharing in self._from_longest():
            if sharing * 100 >= _SHARE_PERCENT * sum(self.counts):
                mark = self.tail[len(self.tail) - length :]
                odd = [line for shared, lines in self.lines.items() if shared < length for line in lines]
                return Ending(mark=mark, odd=sum(self.counts) - sharing, odd_lines=tuple(sorted(odd)[:LINES_NAMED_MAX]))
        return _NOTHING

    def _from_longest(self) -> Iterator[tuple[int, int]]:
        sharing = 0
        for length in range(len(self.tail), _MARK_CHARS_MIN - 1, -1):
            sharing += self.counts[length]
            yield length, sharing


def _shared_ending(one: str, other: str) -> int:
    length = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        length += 1
    return length
