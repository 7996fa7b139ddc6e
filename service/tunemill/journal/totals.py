"""The run's money and counts as a fold over the journal's lines: the same code at replay and while running."""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Self, assert_never

from tunemill.journal.codec import decode, encode
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Marked,
    Opened,
    Repaired,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.model import FailureKind, Picodollars, Usage

COMPLETED = "completed"
_PLAIN = ("settled", "uncertain", "rows", "version", "walked", "first_at", "last_at")
_FAILURES = frozenset(kind.value for kind in FailureKind)
_PAIRED = ("finished", "attempts", "tokens")


class Totals:
    """Everything that was ever sent, paid for and received in this run.

    `unresolved` holds attempts that left and whose outcome is not known (yet); after a crash they are what may have
    been billed unseen. Keys: `finished` by (step, outcome or failure kind), `attempts` by (step, "completed" or failure
    kind), `tokens` by (step, kind), `cost` by step. `rows` is how many rows the source has, as last counted or walked,
    `walked` how many the last whole walk saw (-1: there was none); `version` changes with every line that may change
    the dataset.
    """

    def __init__(self) -> None:
        self.settled: Picodollars = 0
        self.uncertain: Picodollars = 0
        self.finished: Counter[tuple[str, str]] = Counter()
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cost: Counter[str] = Counter()
        self.unresolved: dict[str, Sent] = {}
        self.opened: Opened | None = None
        self.ended: Ended | None = None
        self.rows = 0
        self.version = 0
        self.walked = -1
        self.first_at: float | None = None
        self.last_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything, for `of_json`."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: [[*key, count] for key, count in getattr(self, name).items()] for name in _PAIRED},
            "cost": dict(self.cost),
            "opened": None if self.opened is None else encode(self.opened).decode(),
            "ended": None if self.ended is None else encode(self.ended).decode(),
            "unresolved": [encode(replace(sent, body=None)).decode() for sent in self.unresolved.values()],
        }

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> Self:
        """The totals that `to_json` gave."""
        totals = cls()
        for name in _PLAIN:
            setattr(totals, name, raw[name])
        for name in _PAIRED:
            setattr(totals, name, Counter({(step, what): count for step, what, count in raw[name]}))
        totals.cost = Counter(raw["cost"])
        opened, ended = (raw[name] and decode(raw[name].encode()) for name in ("opened", "ended"))
        totals.opened = opened if isinstance(opened, Opened) else None
        totals.ended = ended if isinstance(ended, Ended) else None
        for sent in map(decode, (text.encode() for text in raw["unresolved"])):
            if isinstance(sent, Sent):
                totals.unresolved[sent.request] = sent
        return totals

    def copy(self) -> "Totals":
        """As it is now: what is folded later does not change it."""
        other = copy(self)
        for name in (*_PAIRED, "cost", "unresolved"):
            setattr(other, name, copy(getattr(self, name)))
        return other

    @property
    def reserved(self) -> Picodollars:
        """What attempts without an outcome may still cost."""
        return sum(sent.reserved for sent in self.unresolved.values())

    @property
    def answers(self) -> int:
        """All completions."""
        return sum(count for (_, what), count in self.attempts.items() if what == COMPLETED)

    @property
    def failures(self) -> int:
        """All that failed for good, over again where it was tried again."""
        return sum(count for (_, what), count in self.finished.items() if what in _FAILURES)

    def completed_of(self, step: str) -> int:
        """Completions of one step."""
        return self.attempts[step, COMPLETED]

    def fold(self, line: Line) -> None:
        """Take one more line into account."""
        match line:
            case Sent():
                self._sent(line)
            case Completed():
                self._completed(line)
            case AttemptFailed() | Failed():
                self._failed(line)
            case Opened():
                self.opened, self.ended, self.rows = line, None, line.rows
            case Ended():
                self.ended = line
            case SourceEnded():
                self.version += line.rows != self.walked
                self.rows = self.walked = line.rows
            case RowSeen() | Reused():
                self.version += 1
            case Repaired():
                self.uncertain += line.uncertain
                self.ended = None
                self.version += 1
            case Marked():
                pass
            case _:
                assert_never(line)

    def _sent(self, line: Sent) -> None:
        before = self.unresolved.get(line.request)
        if before is not None:
            self.uncertain += before.reserved
        self.unresolved[line.request] = line
        if self.first_at is None:
            self.first_at = line.at

    def _completed(self, line: Completed) -> None:
        self.unresolved.pop(line.request, None)
        self.settled += line.cost
        self.cost[line.step] += line.cost
        self.finished[line.step, line.outcome] += 1
        self.attempts[line.step, COMPLETED] += 1
        self.last_at = line.at
        self.version += 1
        if line.usage is not None:
            self._count_tokens(line.step, line.usage)

    def _count_tokens(self, step: str, usage: Usage) -> None:
        self.tokens[step, "input"] += usage.input
        self.tokens[step, "cached_input"] += usage.cached_input
        self.tokens[step, "output"] += usage.output
        self.tokens[step, "reasoning"] += usage.reasoning

    def _failed(self, line: AttemptFailed | Failed) -> None:
        self.unresolved.pop(line.request, None)
        self.uncertain += line.uncertain
        if line.attempt > 0:
            self.attempts[line.step, line.failure.value] += 1
        if isinstance(line, Failed):
            self.finished[line.step, line.failure.value] += 1
            self.version += 1
