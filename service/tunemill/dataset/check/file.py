"""`check`: judges any fine-tune file, line by line, in memory that hardly grows with the file.

What grows is 20 bytes for each example, to find exact duplicates; beyond `DUPLICATES_EXAMPLES_MAX` examples they
are no longer looked for, and a warning says so.
"""

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tunemill.dataset.check.endings import Ending, Endings
from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.dataset.check.kinds import TrainFormat, characters_of, example_faults, formats_of, messages_of
from tunemill.dataset.check.limits import EXAMPLES_ADVISED, EXAMPLES_MIN, FILE_BYTES_MAX, example_tokens_max
from tunemill.dataset.check.lines import Line, read_lines
from tunemill.dataset.check.report import FAULTS_KEPT_MAX, CheckReport
from tunemill.dataset.check.secrets import secret_faults
from tunemill.dataset.digests import DigestIndex, digest_of
from tunemill.dataset.lengths import LengthTally, tokens_estimate
from tunemill.errors import ArgumentError
from tunemill.model import JsonObject

DUPLICATES_EXAMPLES_MAX = 4_000_000


def check_file(
    path: Path, model: str | None = None, *, expected: TrainFormat | None = None, tokens_max: int | None = None
) -> CheckReport:
    """Judge a file. `model` is what it shall train, `expected` its format where that is known beforehand, `tokens_max`
    the longest example where the caller knows better than our table.

    Raises:
        ArgumentError: there is no such file, it is no file, or it cannot be read.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "is not there"
        raise ArgumentError(problem, mend="name a file of training examples, in JSON Lines", file=path)
    if tokens_max is None and model is not None:
        tokens_max = example_tokens_max(model)
    checker = _Checker(expected, tokens_max)
    for read in read_lines(path):
        checker.take(read)
    size = path.stat().st_size
    checker.finish(path, size)
    return CheckReport(
        path=path,
        size=size,
        format=checker.format,
        model=model,
        example_tokens_max=tokens_max,
        lines=checker.lines,
        examples=checker.examples,
        roles=dict(sorted(checker.roles.items())),
        lengths=checker.lengths.lengths(),
        tokens=checker.tokens,
        counts=dict(sorted(checker.counts.items(), key=lambda item: item[0].code)),
        faults=tuple(checker.faults),
    )


class _Checker:
    """What is known of a file after some of its lines."""

    __slots__ = (
        "_completions", "_digests", "_first_lines", "_prompts", "_tokens_max", "counts", "examples", "faults", "format",
        "lengths", "lines", "roles", "tokens",
    )  # fmt: skip

    def __init__(self, expected: TrainFormat | None, tokens_max: int | None) -> None:
        self.format = expected
        self._tokens_max = tokens_max
        self.lines = 0
        self.examples = 0
        self.tokens = 0
        self.roles: Counter[str] = Counter()
        self.counts: Counter[FaultKind] = Counter()
        self.faults: list[Fault] = []
        self.lengths = LengthTally()
        self._digests = DigestIndex()
        self._first_lines = array("Q")
        self._prompts = Endings()
        self._completions = Endings()

    def take(self, read: Line | Fault) -> None:
        """One line, or what is wrong with it."""
        if isinstance(read, Fault):
            self.lines = max(self.lines, read.line or 0)
            self._note([read])
            return
        self.lines = read.number
        self.examples += 1
        self._note(self._line_faults(read), line=read.number)

    def finish(self, path: Path, size: int) -> None:
        """What can only be said of the file as a whole. These faults are kept even when there are very many others."""
        for found in self._file_faults(path, size):
            self.counts[found.kind] += 1
            self.faults.append(found)

    def _note(self, faults: Iterable[Fault], line: int | None = None) -> None:
        for found in faults:
            self.counts[found.kind] += 1
            if len(self.faults) < FAULTS_KEPT_MAX:
                self.faults.append(found if line is None else dataclasses.replace(found, line=line))

    def _line_faults(self, line: Line) -> Iterator[Fault]:
        yield from secret_faults(line.raw, line.value)
        yield from self._duplicate_faults(line)
        of = formats_of(line.value)
        if not of:
            yield fault(FaultKind.UNKNOWN_FORMAT, "", "is no example of any format")
            return
        if self.format is None:
            self.format = next(known for known in TrainFormat if known in of)
        if self.format not in of:
            names = " and ".join(sorted(one.value for one in of))
            yield fault(FaultKind.MIXED_FORMATS, "", f"is a {names} example in a {self.format.value} file")
            return
        yield from example_faults(line.value, self.format)
        yield from self._measured(line.number, line.value, self.format)

    def _measured(self, number: int, example: JsonObject, of: TrainFormat) -> Iterator[Fault]:
        characters = characters_of(example, of)
        tokens = tokens_estimate(characters)
        self.lengths.add(characters)
        self.tokens += tokens
        self.roles.update(role for message in messages_of(example, of) if isinstance(role := message.get("role"), str))
        if of is TrainFormat.COMPLETION:
            self._add_endings(number, example)
        if self._tokens_max is not None and tokens > self._tokens_max:
            yield fault(FaultKind.TOO_LONG, "", f"has about {tokens:,} tokens; the model takes {self._tokens_max:,}")

    def _add_endings(self, number: int, example: JsonObject) -> None:
        prompt, completion = example.get("prompt"), example.get("completion")
        if isinstance(prompt, str) and prompt:
            self._prompts.add(number, prompt)
        if isinstance(completion, str) and completion:
            self._completions.add(number, completion)

    def _duplicate_faults(self, line: Line) -> Iterator[Fault]:
        known = len(self._digests)
        if known >= DUPLICATES_EXAMPLES_MAX:
            return
        number = self._digests.number_of(digest_of(line.raw.strip()))
        if number == known:
            self._first_lines.append(line.number)
        else:
            yield fault(FaultKind.DUPLICATE, "", f"is the same as line {self._first_lines[number]}")

    def _file_faults(self, path: Path, size: int) -> Iterator[Fault]:
        if path.suffix != ".jsonl":
            yield fault(FaultKind.NAME, "", f"the name {path.name!r} does not end in .jsonl")
        if size > FILE_BYTES_MAX:
            yield fault(FaultKind.TOO_LARGE, "", f"the file has {size >> 20:,} MB; targets take {FILE_BYTES_MAX >> 20}")
        if self.examples < EXAMPLES_MIN:
            yield fault(FaultKind.TOO_FEW, "", f"the file has {self.examples} examples")
        elif self.examples < EXAMPLES_ADVISED:
            yield fault(FaultKind.FEW, "", f"the file has {self.examples} examples")
        if len(self._digests) >= DUPLICATES_EXAMPLES_MAX:
            problem = f"duplicates were looked for among the first {DUPLICATES_EXAMPLES_MAX:,} different examples only"
            yield fault(FaultKind.DUPLICATES_UNKNOWN, "", problem)
        if self.format is TrainFormat.COMPLETION and self.examples > 1:
            yield from _ending_faults(self._prompts.found(), "prompt", FaultKind.SEPARATOR_MISSING, FaultKind.SEPARATOR)
            yield from _ending_faults(self._completions.found(), "completion", FaultKind.STOP_MISSING, FaultKind.STOP)


def _ending_faults(ending: Ending, field: str, missing: FaultKind, differs: FaultKind) -> Iterator[Fault]:
    if not ending.mark:
        yield fault(missing, "", f"the {field}s have no common ending")
    for line in ending.odd_lines:
        yield fault(differs, field, f"does not end with {ending.mark!r}, as most others do", line=line)
