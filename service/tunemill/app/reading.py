"""What the journal holds, in the order of the source: failures, and completions to show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunemill.engine import Step
from tunemill.journal import Journal, KnownRequest, RequestState
from tunemill.model import Row


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


def _rows_at(journal: Journal, positions: Iterable[int]) -> Iterator[tuple[int, Row]]:
    for position in positions:
        found = journal.index.row_at(position)
        # A damaged line had the fields where there is no length: the next run notes them anew.
        if found is not None and found[1].location.length:
            record = journal.reader.read(found[1].location)
            yield position, Row(id=record["row"], fields=record["fields"])


def outcomes(journal: Journal, steps: Sequence[Step], state: RequestState) -> Iterator[Outcome]:
    """Every place whose request is in this state (completed or failed), row by row and step by step."""
    # Few fail, if any: their rows are asked for, so that nothing else is read. Even that is a look at every request.
    if state is RequestState.FAILED and not journal.totals.failures:
        return
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
