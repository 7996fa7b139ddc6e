"""Counts what a build does while it does it, in bounded memory, and holds the figures that come of it."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tunemill.dataset.clean import Rejected
from tunemill.dataset.judge import (
    RANKS_END,
    LeftOut,
    Limits,
    Ready,
    cut,
    last_text,
    rank_of,
    rank_prefix,
    reject_key,
)
from tunemill.dataset.lengths import Lengths, LengthTally, tokens_estimate
from tunemill.dataset.split import Side
from tunemill.model import Json

EXAMPLES_SHOWN = 10
REJECTED_SHOWN_PER_RULE = 3

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
    """Takes what was decided. Which examples are shown is drawn by a hash of the seed and the example."""

    __slots__ = ("_examples", "_finish_reasons", "_lengths", "_rank_prefix", "_rejects", "_rules", "_systems",
                 "_tokens_train", "_tokens_validation", "_train", "_validation")  # fmt: skip

    def __init__(self, *, seed: int) -> None:
        self._rank_prefix = rank_prefix(seed)
        self._train = self._validation = 0
        self._tokens_train = self._tokens_validation = 0
        self._rules: Counter[str] = Counter()
        self._finish_reasons: Counter[tuple[str, str]] = Counter()
        self._lengths = LengthTally()
        self._examples: _Draw[ShownExample] = _Draw(EXAMPLES_SHOWN)
        self._rejects: dict[str, _Draw[ShownReject]] = {}
        self._systems: set[str] = set()

    def limits(self) -> Limits:
        """Whose texts the report still wants, as it stands now."""
        return Limits(examples=self._examples.limit, rejects={rule: draw.limit for rule, draw in self._rejects.items()})

    def add_reasons(self, finish_reasons: Mapping[tuple[str, str], int]) -> None:
        """Of candidates, whatever becomes of them."""
        self._finish_reasons.update(finish_reasons)

    def add_examples(self, side: Side, examples: Sequence[Ready]) -> None:
        """Examples that were put into this file."""
        tokens = sum([tokens_estimate(example.characters) for example in examples])
        if side is Side.TRAIN:
            self._train += len(examples)
            self._tokens_train += tokens
        else:
            self._validation += len(examples)
            self._tokens_validation += tokens
        self._lengths.add_all([example.length for example in examples])
        if len(self._systems) < 2:
            self._systems.update([example.system for example in examples])
        for example in examples:
            if example.shown is not None:
                self._show(side, example, *example.shown)

    def add_left_out(self, left_out: LeftOut) -> None:
        """A candidate that is no example."""
        draw = self._count_reject(left_out.rule)
        if left_out.shown is not None and draw.would_take(left_out.shown[0]):
            rank, detail, text = left_out.shown
            draw.put(
                rank,
                ShownReject(row=left_out.row_id, sample=left_out.sample, rule=left_out.rule, detail=detail, text=text),
            )

    def add_rejected(self, example: Ready, rejected: Rejected) -> None:
        """An example that is in no file because of those before it."""
        draw = self._count_reject(rejected.rule)
        rank = rank_of(self._rank_prefix, reject_key(example.row_id, example.sample))
        if draw.would_take(rank):
            shown = ShownReject(
                row=example.row_id,
                sample=example.sample,
                rule=rejected.rule,
                detail=cut(rejected.detail),
                text=cut(last_text(example.said)),
            )
            draw.put(rank, shown)

    def figures(self) -> Figures:
        """What was counted so far."""
        return Figures(
            candidates=self._train + self._validation + self._rules.total(),
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

    def _count_reject(self, rule: str) -> "_Draw[ShownReject]":
        self._rules[rule] += 1
        draw = self._rejects.get(rule)
        if draw is None:
            draw = self._rejects[rule] = _Draw(REJECTED_SHOWN_PER_RULE)
        return draw

    def _show(self, side: Side, example: Ready, rank: int, prompt: str, target: str) -> None:
        if self._examples.would_take(rank):
            shown = ShownExample(row=example.row_id, sample=example.sample, side=side, prompt=prompt, target=target)
            self._examples.put(rank, shown)


class _Draw(Generic[Shown]):
    """Keeps the few things with the lowest ranks: the same ones in whatever order they come."""

    __slots__ = ("_heap", "_puts", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._puts = 0
        self._heap: list[tuple[int, int, Shown]] = []  # negative ranks: the highest rank is on top, to be replaced

    @property
    def limit(self) -> int:
        """It takes what is below; it only falls."""
        return RANKS_END if len(self._heap) < self._size else -self._heap[0][0]

    def would_take(self, rank: int) -> bool:
        return rank < self.limit

    def put(self, rank: int, shown: Shown) -> None:
        self._puts += 1
        entry = (-rank, -self._puts, shown)  # of equal ranks the first to come stays
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def drawn(self) -> tuple[Shown, ...]:
        return tuple(shown for _, _, shown in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1])))
