"""What may become examples: each row with an answer of every step, in the order of the source, as the journal has it.

A build goes through millions of these. What hundreds of rows have in the journal is therefore looked up and read in one
go, and of an answer only what a dataset is made of is read.
"""

from collections.abc import Iterator, Mapping, Sequence

from tunemill.answers import parse_completion
from tunemill.engine import Step
from tunemill.journal import (
    AnsweredSlot,
    DamagedLine,
    Journal,
    RowBetween,
    decode_answer,
    decode_whole,
    read_lines,
    slot_mask,
    unpacked,
)
from tunemill.model import Candidate, Completion, Row

_SLOTS_AT_ONCE = 512  # asked of the index in one question
_BYTES_AT_ONCE = 8 * 1024 * 1024  # of the journal's lines that are held together; more are read one by one


def candidates(journal: Journal, steps: Sequence[Step]) -> Iterator[Candidate]:
    """Every chain of answers of every row. Raises RunFolderError for a damaged line."""
    masks = list(_masks(steps))
    at_once = max(1, _SLOTS_AT_ONCE // max(1, len(masks)))
    for first in range(0, journal.index.positions(), at_once):
        rows = journal.index.rows_between(first, first + at_once)
        answered = journal.index.answered([key ^ mask for _, key, _, _ in rows for mask in masks])
        places = [(place, length) for _, _, place, length in rows]
        places += [(place, length) for _, place, length, _, _ in answered.values()]
        is_little = sum(length for _, length in places) <= _BYTES_AT_ONCE
        lines = read_lines(journal.reader, places) if is_little else {}
        yield from _Portion(journal, steps, rows, answered, lines).candidates()


def _masks(steps: Sequence[Step]) -> Iterator[int]:
    """What makes of a row's key those of its slots: the samples of the first step, then those of the second, ..."""
    samples = 1
    for step in steps:
        samples *= step.samples
        for sample in range(samples):
            yield slot_mask(step.name, sample)


class _Portion:
    """Some rows and what was found of them. Lines are checked when they are needed."""

    __slots__ = ("_answered", "_journal", "_lines", "_rows", "_steps")

    def __init__(
        self,
        journal: Journal,
        steps: Sequence[Step],
        rows: Sequence[RowBetween],
        answered: Mapping[int, AnsweredSlot],
        lines: Mapping[int, bytes],
    ) -> None:
        """`lines` are those that were read already, by place."""
        self._journal = journal
        self._steps = steps
        self._rows = rows
        self._answered = answered
        self._lines = lines

    def candidates(self) -> Iterator[Candidate]:
        """In order."""
        for position, key, place, length in self._rows:
            row = self._row(place, length)
            if not self._steps:
                yield Candidate(position=position, row=row, sample=0, answers={})
            else:
                for sample, answers in self._chains(key, {}, 0, None):
                    yield Candidate(position=position, row=row, sample=sample, answers=answers)

    def _chains(
        self, row_key: int, answers: dict[str, Completion], above: int, parent: int | None
    ) -> Iterator[tuple[int, Mapping[str, Completion]]]:
        """The last sample and the answers of every chain: down the tree of samples as far as there are answers that
        belong together. After a prompt was edited, an answer to the text that another one replaced may still be in its
        place."""
        step = self._steps[len(answers)]
        name, is_last = step.name, len(answers) + 1 == len(self._steps)
        for sample in range(above * step.samples, (above + 1) * step.samples):
            found = self._answered.get(row_key ^ slot_mask(name, sample))
            if found is None or found[4] != parent:
                continue
            extended = {**answers, name: self._completion(found[1], found[2])}
            if is_last:
                yield sample, extended
            else:
                yield from self._chains(row_key, extended, sample, found[3])

    def _row(self, place: int, length: int) -> Row:
        text = self._line(place, length)
        try:
            record = decode_whole(text)
        except DamagedLine as error:
            raise self._journal.reader.damaged(unpacked(place, length), error) from error
        return Row(id=record["row"], fields=record["fields"])

    def _completion(self, place: int, length: int) -> Completion:
        text = self._line(place, length)
        try:
            answer = decode_answer(text)
        except DamagedLine as error:
            raise self._journal.reader.damaged(unpacked(place, length), error) from error
        return parse_completion(answer, with_usage=False)

    def _line(self, place: int, length: int) -> bytes:
        text = self._lines.get(place)
        return self._journal.reader.read_text(unpacked(place, length)) if text is None else text
