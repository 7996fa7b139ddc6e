"""What the journal holds, in the order of the source: candidates for the dataset, failures, and completions to show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunemill.answers import parse_completion
from tunemill.engine import Step
from tunemill.journal import KEY_DIGITS, Journal, KnownRequest, RequestState
from tunemill.model import Answer, Candidate, Row, picodollars


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


def rows_of(journal: Journal) -> Iterator[tuple[int, Row]]:
    """The rows that are in the source now, in its order."""
    return _rows_at(journal, range(journal.index.positions()))


def _rows_at(journal: Journal, positions: Iterable[int]) -> Iterator[tuple[int, Row]]:
    for position in positions:
        found = journal.index.row_at(position)
        if (
            found is not None and found[1].location.length
        ):  # a damaged line had the fields: the next run notes them anew
            record = journal.reader.read(found[1].location)
            yield position, Row(id=record["row"], fields=record["fields"])


def candidates(journal: Journal, steps: Sequence[Step]) -> Iterator[Candidate]:
    """Each row with one answer of every step: what may become an example."""
    for position, row in rows_of(journal):
        if not steps:
            yield Candidate(position=position, row=row, sample=0, answers={})
        else:
            yield from _chains(journal, steps, position, row, {}, 0)


def _chains(
    journal: Journal, steps: Sequence[Step], position: int, row: Row, answers: dict[str, Answer], above: int
) -> Iterator[Candidate]:
    """Go down the tree of samples as far as there are answers that belong together: after a prompt was edited, an
    answer to the text that another one replaced may still be in its place."""
    step = steps[len(answers)]
    parent = next(reversed(answers.values())).request_id[:KEY_DIGITS] if answers else ""
    for sample in range(above * step.samples, (above + 1) * step.samples):
        served = journal.index.served(row.id, step.name, sample)
        if served is None or served[0] != parent or served[1].state is not RequestState.COMPLETED:
            continue
        known = served[1]
        extended = {**answers, step.name: _answer(journal, known, step.name, sample)}
        if len(extended) == len(steps):
            yield Candidate(position=position, row=row, sample=sample, answers=extended)
        else:
            yield from _chains(journal, steps, position, row, extended, sample)


def _answer(journal: Journal, known: KnownRequest, step: str, sample: int) -> Answer:
    record = journal.reader.read(known.outcome)
    return Answer(
        request_id=record["request_id"],
        step=step,
        sample=sample,
        completion=parse_completion(record["answer"], record["provider_request_id"]),
        cost=picodollars(record["usd"]),
    )


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
