"""What a journal of these lines must say, in plain dicts and lists: the other opinion of the state machine."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson

from tunemill.journal import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Journal,
    Line,
    Location,
    Mark,
    Marked,
    Opened,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.journal.codec import decode_whole

STEP = "plot"


@dataclass(slots=True)
class Model:
    """Lines with their places, in order. The first `durable` are on disk; what is of the others after a crash is a
    whole-line prefix of them."""

    lines: list[tuple[Line, Location]] = field(default_factory=list)
    durable: int = 0

    def open_requests(self, *, counted: int | None = None) -> dict[str, Sent]:
        """Attempts that left and have no outcome."""
        found: dict[str, Sent] = {}
        for line, _ in self.lines[:counted]:
            if isinstance(line, Sent):
                found[line.request] = line
            elif isinstance(line, Completed | AttemptFailed | Failed):
                found.pop(line.request, None)
        return found

    def requests(self) -> dict[str, tuple[int, int, Location | None, Location | None]]:
        """Of each: state (0 sent, 1 completed, 2 failed), attempts, where its outcome is, where it was sent first."""
        found: dict[str, tuple[int, int, Location | None, Location | None]] = {}
        for line, at in self.lines:
            if isinstance(line, Sent):
                _, attempts, outcome, sent = found.get(line.request, (0, 0, None, None))
                found[line.request] = (0, max(attempts, line.attempt), outcome, sent or at)
            elif isinstance(line, Completed | Failed):
                _, attempts, _, sent = found.get(line.request, (0, 0, None, None))
                found[line.request] = (1 if isinstance(line, Completed) else 2, attempts, at, sent)
        return found

    def places(self) -> dict[str, tuple[str, str]]:
        """By row, the request that serves its place, and that one's parent."""
        found: dict[str, tuple[str, str]] = {}
        for line, _ in self.lines:
            if isinstance(line, Sent | Reused):
                found[line.row] = (line.request, line.parent)
            elif isinstance(line, Failed) and line.attempt == 0:
                found[line.row] = (line.request, "")
        return found

    def check_texts(self, texts: Sequence[tuple[Location, bytes]], *, many: int | None = None) -> None:
        """What is read is what was written: nothing missing, nothing invented, in order, and in its place."""
        wanted = self.lines[:many]
        assert [at for at, _ in texts] == [at for _, at in wanted]
        for (_, text), (line, _) in zip(texts, wanted, strict=True):
            check_text(text, line)

    def check(self, journal: Journal) -> None:
        """Totals and index."""
        self._check_totals(journal)
        self._check_mark(journal)
        assert journal.reader is not None
        requests, nowhere = self.requests(), 0
        for request, (state, attempts, outcome, sent) in requests.items():
            known = journal.index.request(request)
            assert known is not None
            assert (known.state.value, known.attempts) == (state, attempts)
            # Where it failed and was sent again, the old outcome's place may be kept or forgotten: nobody asks for it.
            if state:
                assert known.outcome == outcome
            assert known.sent == sent or (sent is None and known.sent.length == nowhere)
        for row, (request, parent) in self.places().items():
            slot = journal.index.slot(row, STEP, 0)
            assert slot is not None
            assert slot[1] == parent
            assert journal.index.slot_request(row, STEP, 0) == journal.index.request(request)
        self._check_rows(journal)

    def _check_rows(self, journal: Journal) -> None:
        where: dict[int, str] = {}
        fields: dict[str, Location] = {}
        for line, at in self.lines:
            if isinstance(line, RowSeen):
                where[line.position] = line.row
                if line.fields is not None:
                    fields[line.row] = at
            elif isinstance(line, SourceEnded):
                where = {position: row for position, row in where.items() if position < line.rows}
        assert journal.index.positions() == max(where, default=-1) + 1
        for position, row in where.items():
            assert journal.index.is_at(position, row)
            known = journal.index.row(row)
            assert known is not None
            if row in fields:
                assert known.location == fields[row]
            else:
                assert known.location.length == 0

    def _check_mark(self, journal: Journal) -> None:
        marked = [line for line, _ in self.lines if isinstance(line, Marked)]
        assert journal.mark == (Mark(inputs=marked[-1].inputs, walk=marked[-1].walk) if marked else None)

    def _check_totals(self, journal: Journal) -> None:
        totals, lines = journal.totals, [line for line, _ in self.lines]
        answers = [line for line in lines if isinstance(line, Completed)]
        failures = [line for line in lines if isinstance(line, AttemptFailed | Failed)]
        assert totals.settled == sum(line.cost for line in answers)
        assert totals.uncertain == sum(line.uncertain for line in failures)
        assert (
            totals.unresolved == {name: replace(sent, body=None) for name, sent in self.open_requests().items()}
            or totals.unresolved == self.open_requests()
        )
        attempts = Counter([(STEP, "completed")] * len(answers))
        attempts.update((STEP, line.failure.value) for line in failures if line.attempt)
        assert +totals.attempts == +attempts
        finished = Counter((STEP, line.outcome) for line in answers)
        finished.update((STEP, line.failure.value) for line in failures if isinstance(line, Failed))
        assert totals.finished == finished
        assert totals.tokens[STEP, "output"] == sum(line.usage.output for line in answers if line.usage is not None)
        assert totals.cost == Counter({STEP: totals.settled} if answers else {})
        opened = [line for line in lines if isinstance(line, Opened | Ended)]
        assert (totals.ended is None) is (not opened or isinstance(opened[-1], Opened))
        assert totals.first_at == next((line.at for line in lines if isinstance(line, Sent)), None)


def check_text(text: bytes, line: Line) -> None:
    """The line's bytes say what was given, its payload included."""
    record = decode_whole(text)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    for name, payload in (("body", getattr(line, "body", None)), ("answer", getattr(line, "answer", None))):
        if payload is not None:
            assert record[name] == orjson.loads(orjson.dumps(payload))
