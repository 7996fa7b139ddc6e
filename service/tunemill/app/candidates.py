"""What may become examples: each row with an answer of every step, in the order of the source, as the journal has it.

A build goes through millions of these. Where rows and their answers stand is asked of the index for thousands at once,
and handed out a few hundred at a time (`portions`); whoever is told the places alone then reads and parses the lines
(`candidates_of`), and of an answer only what a dataset is made of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunemill.answers import parse_completion
from tunemill.engine import Step
from tunemill.journal import (
    AnsweredSlot,
    DamagedLine,
    Journal,
    LineReader,
    RowBetween,
    decode_answer,
    decode_whole,
    read_lines,
    slot_mask,
    unpacked,
)
from tunemill.model import Candidate, Completion, Row

# Asked of the index in one question: the more, the fewer of its pages are read more than once.
_SLOTS_AT_ONCE = 4096
_SLOTS_TOGETHER = 256  # make a portion
_BYTES_TOGETHER = 2 * 1024 * 1024  # of the journal's lines make one, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some rows, in order, and what was found of their answers: places in the journal, and nothing of what is there."""

    rows: Sequence[RowBetween]
    answered: Sequence[AnsweredSlot]


def portions(journal: Journal, steps: Sequence[Step]) -> Iterator[Portion]:
    """All rows of the source."""
    masks = list(_masks(steps))
    at_once = max(1, _SLOTS_AT_ONCE // max(1, len(masks)))
    for first in range(0, journal.index.positions(), at_once):
        rows = journal.index.rows_between(first, first + at_once)
        answered = journal.index.answered([key ^ mask for _, key, _, _ in rows for mask in masks])
        yield from _cut(rows, answered, masks)


def _cut(rows: Sequence[RowBetween], answered: Mapping[int, AnsweredSlot], masks: Sequence[int]) -> Iterator[Portion]:
    """Portions of at least one row, and otherwise not too many slots, nor too many bytes."""
    some: list[RowBetween] = []
    found: list[AnsweredSlot] = []
    rows_max, size = max(1, _SLOTS_TOGETHER // max(1, len(masks))), 0
    for row in rows:
        mine = [answered[slot] for mask in masks if (slot := row[1] ^ mask) in answered]
        more = row[3] + sum([each[2] for each in mine])
        if some and (len(some) == rows_max or size + more > _BYTES_TOGETHER):
            yield Portion(rows=some, answered=found)
            some, found, size = [], [], 0
        some.append(row)
        found += mine
        size += more
    if some:
        yield Portion(rows=some, answered=found)


def candidates_of(portion: Portion, steps: Sequence[Step], reader: LineReader) -> Iterator[Candidate]:
    """Every chain of answers of every row, in order. Raises RunFolderError for a damaged line."""
    places = [(place, length) for _, _, place, length in portion.rows]
    places += [(place, length) for _, place, length, _, _ in portion.answered]
    answered = {found[0]: found for found in portion.answered}
    return _Chains(reader, steps, answered, read_lines(reader, places)).candidates(portion.rows)


def _masks(steps: Sequence[Step]) -> Iterator[int]:
    """What makes of a row's key those of its slots: the samples of the first step, then those of the second, ..."""
    samples = 1
    for step in steps:
        samples *= step.samples
        for sample in range(samples):
            yield slot_mask(step.name, sample)


class _Chains:
    """What was found of a portion. Lines are checked when they are needed."""

    __slots__ = ("_answered", "_lines", "_reader", "_steps")

    def __init__(
        self,
        reader: LineReader,
        steps: Sequence[Step],
        answered: Mapping[int, AnsweredSlot],
        lines: Mapping[int, bytes],
    ) -> None:
        """`lines` by place."""
        self._reader = reader
        self._steps = steps
        self._answered = answered
        self._lines = lines

    def candidates(self, rows: Sequence[RowBetween]) -> Iterator[Candidate]:
        """In order."""
        # All of them first, not each with its answers: the processor does faster what it has just done.
        parsed = [self._row(place, length) for _, _, place, length in rows]
        for (position, key, _, _), row in zip(rows, parsed, strict=True):
            if not self._steps:
                yield Candidate(position=position, row=row, sample=0, answers={})
            else:
                for sample, answers in self._chains(key, {}, 0, None):
                    yield Candidate(position=position, row=row, sample=sample, answers=answers)

    def _chains(
        self, row_key: int, answers: dict[str, Completion], above: int, parent: int | None
    ) -> list[tuple[int, Mapping[str, Completion]]]:
        """The last sample and the answers of every chain: down the tree of samples as far as there are answers that
        belong together. After a prompt was edited, an answer to the text that another one replaced may still be in its
        place."""
        step = self._steps[len(answers)]
        name, samples, is_last = step.name, step.samples, len(answers) + 1 == len(self._steps)
        chains: list[tuple[int, Mapping[str, Completion]]] = []
        for sample in range(above * samples, (above + 1) * samples):
            found = self._answered.get(row_key ^ slot_mask(name, sample))
            if found is None or found[4] != parent:
                continue
            extended = {**answers, name: self._completion(found[1], found[2])}
            if is_last:
                chains.append((sample, extended))
            else:
                chains += self._chains(row_key, extended, sample, found[3])
        return chains

    def _row(self, place: int, length: int) -> Row:
        try:
            record = decode_whole(self._lines[place])
        except DamagedLine as error:
            raise self._reader.damaged(unpacked(place, length), error) from error
        return Row(id=record["row"], fields=record["fields"])

    def _completion(self, place: int, length: int) -> Completion:
        try:
            answer = decode_answer(self._lines[place])
        except DamagedLine as error:
            raise self._reader.damaged(unpacked(place, length), error) from error
        return parse_completion(answer, with_usage=False)
