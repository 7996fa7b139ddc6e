"""Counts what a build does while it does it, in bounded memory, and holds the figures that come of it."""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from tunemill.dataset.clean import Rejected
from tunemill.dataset.lengths import Lengths, LengthTally, tokens_estimate
from tunemill.dataset.select import Decision, Placed
from tunemill.dataset.split import Side
from tunemill.model import Candidate, Json

EXAMPLES_SHOWN = 10
REJECTED_SHOWN_PER_RULE = 3

_TEXT_SHOWN_CHARS = 4_000

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExample:
    """An example as a person reads it; long texts are cut."""

    row: str
    sample: int
    side: Side
    prompt: str
    target: str

    def to_json(self) -> dict[str, Json]:
        return {
            "row": self.row,
            "sample": self.sample,
            "file": self.side.value,
            "prompt": self.prompt,
            "target": self.target,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReject:
    """A candidate that was left out, and why. `text` is what the last step answered, "" in a recipe without steps."""

    row: str
    sample: int
    rule: str
    detail: str
    text: str

    def to_json(self) -> dict[str, Json]:
        return {"row": self.row, "sample": self.sample, "detail": self.detail, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What became of all candidates: candidates = kept + rejected (asserted), kept = train + validation, and rejected
    is the sum of `rejected_by_rule`.

    `lengths` are of the texts that are learned, `finish_reasons` by (step, reason). `tokens_*` are estimates over whole
    examples. `system` is the system prompt that every example shares, "" where there is none or they differ
    (`is_system_shared` tells which).
    """

    candidates: int
    train: int
    validation: int
    rejected_by_rule: Mapping[str, int]
    finish_reasons: Mapping[tuple[str, str], int]
    lengths: Lengths
    tokens_train: int
    tokens_validation: int
    examples: tuple[ShownExample, ...]
    rejects: Mapping[str, tuple[ShownReject, ...]]
    system: str
    is_system_shared: bool

    def __post_init__(self) -> None:
        assert self.candidates == self.kept + self.rejected, "candidates = kept + rejected"
        assert self.lengths.count == self.kept, "one length for each example"

    @property
    def kept(self) -> int:
        return self.train + self.validation

    @property
    def rejected(self) -> int:
        return sum(self.rejected_by_rule.values())


class Tally:
    """Takes decisions one by one. Which examples are shown is drawn by a hash of the seed and the example."""

    __slots__ = ("_candidates", "_examples", "_finish_reasons", "_lengths", "_rejects", "_rules", "_seed", "_systems",
                 "_tokens_train", "_tokens_validation", "_train", "_validation")  # fmt: skip

    def __init__(self, *, seed: int) -> None:
        self._seed = b"tunemill shown %d\n" % seed
        self._candidates = 0
        self._train = self._validation = 0
        self._tokens_train = self._tokens_validation = 0
        self._rules: Counter[str] = Counter()
        self._finish_reasons: Counter[tuple[str, str]] = Counter()
        self._lengths = LengthTally()
        self._examples: _Draw[ShownExample] = _Draw(EXAMPLES_SHOWN)
        self._rejects: dict[str, _Draw[ShownReject]] = {}
        self._systems: set[str] = set()

    def add(self, candidate: Candidate, decision: Decision) -> None:
        """One candidate and what became of it."""
        self._candidates += 1
        for step, completion in candidate.answers.items():
            self._finish_reasons[step, completion.finish_reason] += 1
        if isinstance(decision, Rejected):
            self._add_reject(candidate, decision)
        else:
            self._add_example(candidate, decision)

    def figures(self) -> Figures:
        """What was counted so far."""
        return Figures(
            candidates=self._candidates,
            train=self._train,
            validation=self._validation,
            rejected_by_rule=dict(sorted(self._rules.items())),
            finish_reasons=self._ordered_reasons(),
            lengths=self._lengths.lengths(),
            tokens_train=self._tokens_train,
            tokens_validation=self._tokens_validation,
            examples=self._examples.drawn(),
            rejects={rule: draw.drawn() for rule, draw in sorted(self._rejects.items())},
            system=next(iter(self._systems)) if len(self._systems) == 1 else "",
            is_system_shared=len(self._systems) <= 1,
        )

    def _ordered_reasons(self) -> dict[tuple[str, str], int]:
        """Steps in the order of the chain, which is that of every candidate; reasons by name."""
        steps = list(dict.fromkeys(step for step, _ in self._finish_reasons))
        ordered = sorted(self._finish_reasons.items(), key=lambda item: (steps.index(item[0][0]), item[0][1]))
        return dict(ordered)

    def _add_example(self, candidate: Candidate, placed: Placed) -> None:
        example = placed.example
        if placed.side is Side.TRAIN:
            self._train += 1
            self._tokens_train += tokens_estimate(example.characters)
        else:
            self._validation += 1
            self._tokens_validation += tokens_estimate(example.characters)
        self._lengths.add(len(example.target))
        if len(self._systems) < 2:
            self._systems.add(example.system)
        rank = self._rank(placed.digest)
        if self._examples.would_take(rank):
            shown = ShownExample(
                row=candidate.row.id,
                sample=candidate.sample,
                side=placed.side,
                prompt=_cut(example.shown),
                target=_cut(example.target),
            )
            self._examples.put(rank, shown)

    def _add_reject(self, candidate: Candidate, rejected: Rejected) -> None:
        self._rules[rejected.rule] += 1
        draw = self._rejects.setdefault(rejected.rule, _Draw(REJECTED_SHOWN_PER_RULE))
        rank = self._rank(f"{candidate.row.id} {candidate.sample}".encode())
        if draw.would_take(rank):
            shown = ShownReject(
                row=candidate.row.id,
                sample=candidate.sample,
                rule=rejected.rule,
                detail=_cut(rejected.detail),
                text=_cut(candidate.last.text) if candidate.answers else "",
            )
            draw.put(rank, shown)

    def _rank(self, key: bytes) -> int:
        return int.from_bytes(blake2b(self._seed + key, digest_size=8).digest(), "big")


class _Draw(Generic[Shown]):
    """Keeps the few things with the lowest ranks: the same ones in whatever order they come."""

    __slots__ = ("_heap", "_puts", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._puts = 0
        self._heap: list[tuple[int, int, Shown]] = []  # negative ranks: the highest rank is on top, to be replaced

    def would_take(self, rank: int) -> bool:
        return len(self._heap) < self._size or rank < -self._heap[0][0]

    def put(self, rank: int, shown: Shown) -> None:
        self._puts += 1
        entry = (-rank, -self._puts, shown)  # of equal ranks the first to come stays
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def drawn(self) -> tuple[Shown, ...]:
        return tuple(shown for _, _, shown in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1])))


def _cut(text: str) -> str:
    if len(text) <= _TEXT_SHOWN_CHARS:
        return text
    return f"{text[:_TEXT_SHOWN_CHARS]}… ({len(text) - _TEXT_SHOWN_CHARS:,} more characters)"
