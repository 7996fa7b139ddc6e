"""Judges candidates each for itself: what example one would be, or why it is none. Pure, and so may be done anywhere.

This is most of a build's work, and does not depend on what came before: other processes may do it. What does depend on
that (duplicates, the split, the figures) is decided afterwards, in source order, from records that hold nothing but
numbers, texts and bytes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from tunemill.dataset.assemble import Assembler
from tunemill.dataset.clean import Cleaner, Rejected
from tunemill.dataset.digests import digest_of
from tunemill.dataset.formats import Example, format_of
from tunemill.dataset.formats.base import dump
from tunemill.dataset.spec import BuildSpec
from tunemill.dataset.split import prompt_digest
from tunemill.dataset.writing import dump_text
from tunemill.model import Candidate, Json, JsonObject

RANKS_END = 1 << 64
_TEXT_SHOWN_CHARS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Whose texts the report may still want: of examples, and of what each rule left out, those with a rank below.

    A rule that is not there wants all. Limits only fall: texts that were taken along for nothing do no harm.
    """

    examples: int = RANKS_END
    rejects: Mapping[str, int]


class Ready(NamedTuple):
    """An example, to be placed in a file where nothing before it objects.

    `digest` is of its line; `prompt` is the prompt's, and b"" where nothing is split. `length` is of the text that is
    learned, `characters` of all of it. `said` is what `rejects.jsonl` shows of the candidate. `shown` is the rank, the
    prompt and the learned text for the report, None where that surely does not want it.
    """

    position: int
    row_id: str
    sample: int
    line: bytes
    digest: bytes
    prompt: bytes
    length: int
    characters: int
    system: str
    said: JsonObject
    shown: tuple[int, str, str] | None


class LeftOut(NamedTuple):
    """A candidate that is no example, whatever came before. `line` is for `rejects.jsonl`; `shown` is the rank, the
    detail and the last answer for the report, None where that surely does not want it."""

    row_id: str
    sample: int
    rule: str
    line: bytes
    shown: tuple[int, str, str] | None


Record: TypeAlias = Ready | LeftOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Some candidates, in order, and how often their answers ended for which reason, by step and reason."""

    records: list[Record]
    finish_reasons: Mapping[tuple[str, str], int]


class Judge:
    """Judges by a spec. Two of the same spec give the same records.

    Raises:
        RecipeError: a template or an expression of the recipe is malformed.
    """

    __slots__ = ("_assembler", "_is_split", "_rank_prefix", "_seed")

    def __init__(self, spec: BuildSpec) -> None:
        to_format = format_of(spec.train, spec.compile_template, tools=spec.tools)
        self._assembler = Assembler(cleaner=Cleaner(spec.clean), to_format=to_format, names=spec.names)
        self._seed = spec.train.seed
        self._is_split = spec.train.validation_fraction > 0
        self._rank_prefix = rank_prefix(spec.train.seed)

    def judge(self, candidates: Iterable[Candidate], limits: Limits) -> Judged:
        """In the order in which they come. They are held together, so they should not be too many."""
        # One kind of work for all of them, then the next: the processor does faster what it has just done.
        some = list(candidates)
        reasons = Counter(
            [(step, completion.finish_reason) for each in some for step, completion in each.answers.items()]
        )
        judgements = [self._assembler.assemble(candidate) for candidate in some]
        records: list[Record] = [
            self._left_out(candidate, judgement, limits)
            if isinstance(judgement, Rejected)
            else self._ready(candidate, judgement, limits.examples)
            for candidate, judgement in zip(some, judgements, strict=True)
        ]
        return Judged(records=records, finish_reasons=dict(reasons))

    def _ready(self, candidate: Candidate, example: Example, limit: int) -> Ready:
        digest = digest_of(example.line)
        rank = rank_of(self._rank_prefix, digest)
        return Ready(
            candidate.position,
            candidate.row.id,
            candidate.sample,
            example.line,
            digest,
            prompt_digest(dump(example.prompt), seed=self._seed) if self._is_split else b"",
            len(example.target),
            example.characters,
            example.system,
            _said(candidate),
            (rank, cut(example.shown), cut(example.target)) if rank < limit else None,
        )

    def _left_out(self, candidate: Candidate, rejected: Rejected, limits: Limits) -> LeftOut:
        row_id, sample, said = candidate.row.id, candidate.sample, _said(candidate)
        rank = rank_of(self._rank_prefix, reject_key(row_id, sample))
        return LeftOut(
            row_id,
            sample,
            rejected.rule,
            reject_line(row_id, candidate.position, sample, rejected, said),
            (rank, cut(rejected.detail), cut(last_text(said)))
            if rank < limits.rejects.get(rejected.rule, RANKS_END)
            else None,
        )


def rank_prefix(seed: int) -> bytes:
    """What a seed adds to the keys of ranks."""
    return b"tunemill shown %d\n" % seed


def rank_of(prefix: bytes, key: bytes) -> int:
    """By which the report draws what it shows: the lowest ranks, the same ones in whatever order they come."""
    return int.from_bytes(blake2b(prefix + key, digest_size=8).digest(), "big")


def reject_key(row_id: str, sample: int) -> bytes:
    """The key of a rank of what was left out; an example's is its line's digest."""
    return f"{row_id} {sample}".encode()


def reject_line(row_id: str, position: int, sample: int, rejected: Rejected, said: JsonObject) -> bytes:
    """A line of `rejects.jsonl`."""
    line: dict[str, Json] = {
        "row": row_id,
        "position": position,
        "sample": sample,
        "rule": rejected.rule,
        "step": rejected.step,
        "detail": rejected.detail,
        **said,
    }
    return dump_text(line)


def last_text(said: JsonObject) -> str:
    """What the last step answered, "" in a recipe without steps."""
    texts = said["texts"]
    assert isinstance(texts, Mapping)
    return str([*texts.values()][-1]) if texts else ""


def cut(text: str) -> str:
    """As much of a text as the report shows."""
    if len(text) <= _TEXT_SHOWN_CHARS:
        return text
    return f"{text[:_TEXT_SHOWN_CHARS]}… ({len(text) - _TEXT_SHOWN_CHARS:,} more characters)"


def _said(candidate: Candidate) -> JsonObject:
    """The texts are as the provider sent them. A recipe without steps has none: its row's fields stand instead."""
    if not candidate.answers:
        return {"texts": {}, "fields": candidate.row.fields}
    return {"texts": {step: completion.text for step, completion in candidate.answers.items()}}
