"""What the journal holds, in the order of the source: candidates for the dataset, failures, and completions to show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunemill.answers import parse_completion
from tunemill.engine import Step
from tunemill.journal import KEY_DIGITS, Journal, KnownRequest, Location, RequestState, Served, slot_key
from tunemill.model import Answer, Candidate, Row, picodollars

_SLOTS_AT_ONCE = 512  # asked of the index in one question


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one place, with all that the journal has of it. `prompt` is the body as it was sent, or None where
    nothing was; `record` is the completed or failed line."""

    position: int
    row: Row
    step: str
    sample: int
    record: dict[str, Any]
    prompt: dict[str, Any] | None


def candidates(journal: Journal, steps: Sequence[Step]) -> Iterator[Candidate]:
    """Each row with one answer of every step, in the order of the source: what may become an example."""
    slots = list(_slots(steps))
    at_once = max(1, _SLOTS_AT_ONCE // max(1, len(slots)))
    for first in range(0, journal.index.positions(), at_once):
        # A damaged line had the fields where there is no length: the next run notes them anew.
        rows = [found for found in journal.index.rows_between(first, first + at_once) if found[2].length]
        served = journal.index.served(slot_key(key, *slot) for _, key, _ in rows for slot in slots)
        for position, key, at in rows:
            record = journal.reader.read(at)
            row = Row(id=record["row"], fields=record["fields"])
            if not steps:
                yield Candidate(position=position, row=row, sample=0, answers={})
            else:
                for sample, answers in _chains(journal, steps, key, served, {}, 0):
                    yield Candidate(position=position, row=row, sample=sample, answers=answers)


def _slots(steps: Sequence[Step]) -> Iterator[tuple[str, int]]:
    """Step and sample of each place that a row has."""
    samples = 1
    for step in steps:
        samples *= step.samples
        for sample in range(samples):
            yield step.name, sample


def _chains(
    journal: Journal,
    steps: Sequence[Step],
    row_key: int,
    served: Mapping[int, Served],
    answers: dict[str, Answer],
    above: int,
) -> Iterator[tuple[int, Mapping[str, Answer]]]:
    """The last sample and the answers of every chain: down the tree of samples as far as there are answers that belong
    together. After a prompt was edited, an answer to the text that another one replaced may still be in its place."""
    step = steps[len(answers)]
    parent = next(reversed(answers.values())).request_id[:KEY_DIGITS] if answers else ""
    for sample in range(above * step.samples, (above + 1) * step.samples):
        known = served.get(slot_key(row_key, step.name, sample))
        if known is None or known.parent != parent or known.state is not RequestState.COMPLETED:
            continue
        extended = {**answers, step.name: _answer(journal, known.outcome, step.name, sample)}
        if len(extended) == len(steps):
            yield sample, extended
        else:
            yield from _chains(journal, steps, row_key, served, extended, sample)


def _answer(journal: Journal, at: Location, step: str, sample: int) -> Answer:
    record = journal.reader.read(at)
    return Answer(
        request_id=record["request_id"],
        step=step,
        sample=sample,
        completion=parse_completion(record["answer"], record["provider_request_id"]),
        cost=picodollars(record["usd"]),
    )


def _rows_at(journal: Journal, positions: Iterable[int]) -> Iterator[tuple[int, Row]]:
    for position in positions:
        found = journal.index.row_at(position)
        # A damaged line had the fields where there is no length: the next run notes them anew.
        if found is not None and found[1].location.length:
            record = journal.reader.read(found[1].location)
            yield position, Row(id=record["row"], fields=record["fields"])


def outcomes(journal: Journal, steps: Sequence[Step], state: RequestState) -> Iterator[Outcome]:
    """Every place whose request is in this state (completed or failed), row by row and step by step."""
    # Few fail, if any: their rows are asked for, so that nothing else is read.
    few = journal.index.positions_with(state) if state is RequestState.FAILED else range(journal.index.positions())
    for position, row in _rows_at(journal, few):
        samples = 1
        for step in steps:
            samples *= step.samples
            for sample in range(samples):
                known = journal.index.slot_request(row.id, step.name, sample)
                if known is not None and known.state is state:
                    yield _outcome(journal, known, position, row, step.name, sample)


def _outcome(journal: Journal, known: KnownRequest, position: int, row: Row, step: str, sample: int) -> Outcome:
    record = journal.reader.read(known.outcome)
    prompt = journal.reader.read(known.sent).get("body") if known.sent.length else None
    return Outcome(position=position, row=row, step=step, sample=sample, record=record, prompt=prompt)
