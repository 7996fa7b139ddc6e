"""Looks for what a training and a validation file share: a validation loss over examples that were trained on lies."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.dataset.check.kinds import TrainFormat, canonical, formats_of, prompt_of
from tunemill.dataset.check.lines import Line, read_lines
from tunemill.dataset.check.report import FAULTS_KEPT_MAX
from tunemill.dataset.digests import DigestIndex, digest_of
from tunemill.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """Overlaps of two files. `faults` carry the validation file's lines, the first thousand of them."""

    shared_examples: int
    shared_prompts: int
    faults: tuple[Fault, ...]

    @property
    def is_valid(self) -> bool:
        """Whether no example is in both files."""
        return self.shared_examples == 0

    def to_json(self) -> dict[str, Json]:
        return {
            "valid": self.is_valid,
            "shared_examples": self.shared_examples,
            "shared_prompts": self.shared_prompts,
            "faults": [fault.to_json() for fault in self.faults],
        }


def check_pair(train: Path, validation: Path) -> PairReport:
    """Examples, and prompts of different examples, that are in both files. Lines that are no examples are passed over:
    `check_file` names them. Remembers about 60 bytes for each example of the training file.

    Raises:
        ArgumentError: one of the files cannot be read.
    """
    examples, prompts = _Seen(), _Seen()
    for number, example, prompt in _digests_of(train):
        examples.add(example, number)
        prompts.add(prompt, number)
    shared_examples = shared_prompts = 0
    faults: list[Fault] = []
    for number, example, prompt in _digests_of(validation):
        if first := examples.line_of(example):
            shared_examples += 1
            found = fault(FaultKind.SHARED_EXAMPLE, "", f"is also line {first} of {train.name}", line=number)
        elif first := prompts.line_of(prompt):
            shared_prompts += 1
            found = fault(FaultKind.SHARED_PROMPT, "", f"asks the same as line {first} of {train.name}", line=number)
        else:
            continue
        if len(faults) < FAULTS_KEPT_MAX:
            faults.append(found)
    return PairReport(shared_examples=shared_examples, shared_prompts=shared_prompts, faults=tuple(faults))


class _Seen:
    __slots__ = ("_index", "_lines")

    def __init__(self) -> None:
        self._index = DigestIndex()
        self._lines = array("Q")

    def add(self, digest: bytes, line: int) -> None:
        if self._index.number_of(digest) == len(self._lines):
            self._lines.append(line)

    def line_of(self, digest: bytes) -> int:
        """The first line with this digest; 0 where there is none."""
        return self._lines[self._index.number_of(digest)] if digest in self._index else 0


def _digests_of(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    for read in read_lines(path):
        if not isinstance(read, Line):
            continue
        of = formats_of(read.value)
        if of:
            known = next(one for one in TrainFormat if one in of)
            yield read.number, digest_of(canonical(read.value)), digest_of(prompt_of(read.value, known))
