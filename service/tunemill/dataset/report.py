"""`report.json`: what became of a run's requests and answers, with every sum asserted. It knows no HTML.

The shape, all keys always there:

    shape           1; grows when a key changes its meaning
    recipe, format, fingerprint (the caller's, opaque), simulated (dollars are what the model would have cost)
    funnel          requests_planned = requests_completed + requests_failed + requests_waiting + requests_in_flight;
                    candidates = kept + rejected; kept = train + validation. Requests and candidates are counted
                    apart: a candidate has one request of every step, and none in a recipe without steps
    rejected_by_rule, failed_by_kind    counts by name; the sums are `rejected` and `requests_failed`
    usd             settled, uncertain (may have been billed without our seeing the answer), budget or null
    tokens          input, cached_input, output, reasoning as billed; train_estimate, validation_estimate
    lengths         of the texts that are learned: unit, count, total, min, p5, median, mean, p95, max, histogram
    finish_reasons  by step, by reason
    examples        ten, drawn by a hash: row, sample, file, prompt, target
    rejects         by rule, up to three each: row, sample, detail, text
    files           by name: bytes, lines, sha256
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tunemill.dataset.tally import Figures
from tunemill.dataset.writing import FileRecord
from tunemill.model import FailureKind, Json, usd
from tunemill.statistics import RunStatistics

SHAPE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the report tells of the run that came before the build. The failures add up to `requests.failed`."""

    statistics: RunStatistics
    failures: Mapping[FailureKind, int]

    def __post_init__(self) -> None:
        requests = self.statistics.requests
        accounted = requests.completed + requests.failed + requests.waiting + requests.in_flight
        assert requests.planned == accounted, f"planned = completed + failed + waiting + in_flight: {requests}"
        assert sum(self.failures.values()) == requests.failed, f"failures add up: {self.failures} and {requests}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that `report.json` and `report.html` say."""

    recipe: str
    format: str
    fingerprint: str
    facts: RunFacts
    figures: Figures
    files: Mapping[str, FileRecord]

    def to_json(self) -> dict[str, Json]:
        """The shape described above."""
        statistics, figures = self.facts.statistics, self.figures
        failures = sorted(self.facts.failures.items(), key=lambda item: item[0].value)
        return {
            "shape": SHAPE,
            "recipe": self.recipe,
            "format": self.format,
            "fingerprint": self.fingerprint,
            "simulated": statistics.simulated,
            "funnel": self._funnel(),
            "rejected_by_rule": dict(figures.rejected_by_rule),
            "failed_by_kind": {kind.value: count for kind, count in failures},
            "usd": self._dollars(),
            "tokens": self._tokens(),
            "lengths": figures.lengths.to_json(),
            "finish_reasons": self._finish_reasons(),
            "examples": [shown.to_json() for shown in figures.examples],
            "rejects": {rule: [shown.to_json() for shown in rejects] for rule, rejects in figures.rejects.items()},
            "files": {name: record.to_json() for name, record in self.files.items()},
        }

    def _funnel(self) -> dict[str, Json]:
        requests, figures = self.facts.statistics.requests, self.figures
        return {
            "requests_planned": requests.planned,
            "requests_completed": requests.completed,
            "requests_failed": requests.failed,
            "requests_waiting": requests.waiting,
            "requests_in_flight": requests.in_flight,
            "candidates": figures.candidates,
            "kept": figures.kept,
            "rejected": figures.rejected,
            "train": figures.train,
            "validation": figures.validation,
        }

    def _dollars(self) -> dict[str, Json]:
        money = self.facts.statistics.money
        return {
            "settled": usd(money.settled),
            "uncertain": usd(money.uncertain),
            "budget": None if money.budget is None else usd(money.budget),
        }

    def _tokens(self) -> dict[str, Json]:
        statistics, figures = self.facts.statistics, self.figures
        billed = {kind: statistics.tokens_of(kind) for kind in ("input", "cached_input", "output", "reasoning")}
        return {**billed, "train_estimate": figures.tokens_train, "validation_estimate": figures.tokens_validation}

    def _finish_reasons(self) -> dict[str, Json]:
        by_step: dict[str, dict[str, Json]] = defaultdict(dict)
        for (step, reason), count in self.figures.finish_reasons.items():
            by_step[step][reason] = count
        return dict(by_step)
