"""The final books: what the simulator billed beside what the run's journal says, and every row accounted for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunemill.journal import open_for_reading
from tunemill.model import PICODOLLARS_PER_USD


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Both sides. Dollars are whole picodollars."""

    rows: int
    in_dataset: int  # lines of train, validation and rejects
    failed: int
    bodies_billed: int
    billed_twice: int
    delivered: int
    billed: int
    settled: int
    uncertain: int
    training_usd: float

    def faults(self, *, budget_usd: float, doubtful: int) -> Iterator[str]:
        """What does not fit. Billed twice may be at most `doubtful` requests: those in flight when it was killed."""
        if self.in_dataset + self.failed != self.rows:
            yield f"{self.rows} rows, but {self.in_dataset} in the dataset and {self.failed} failed"
        if self.bodies_billed != self.rows:
            yield f"{self.rows} rows, but {self.bodies_billed} different requests billed"
        if self.billed_twice > doubtful:
            yield f"{self.billed_twice} requests billed twice, where {doubtful} may have been"
        if not self.settled <= self.billed <= self.settled + self.uncertain:
            yield f"billed {self.billed} is not within settled {self.settled} and uncertain {self.uncertain}"
        if (self.settled + self.uncertain) / PICODOLLARS_PER_USD + self.training_usd > budget_usd:
            yield f"settled, uncertain and training together are above the budget of ${budget_usd}"

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"rows {self.rows}: {self.in_dataset} in the dataset, {self.failed} failed"
        yield f"billed by the simulator: {self.bodies_billed} requests, {self.billed_twice} of them twice"
        settled, uncertain, billed = (
            value / PICODOLLARS_PER_USD for value in (self.settled, self.uncertain, self.billed)
        )
        yield f"dollars: ${billed:.6f} billed; ${settled:.6f} settled + ${uncertain:.6f} uncertain"
        if self.training_usd:
            yield f"training: ${self.training_usd:.6f}"


def accounts_of(folder: Path, books: Mapping[str, Any], *, rows: int) -> Accounts:
    """Read a run folder that nobody writes to any more."""
    journal = open_for_reading(folder / "journal")
    totals = journal.totals
    journal.close()
    return Accounts(
        rows=rows,
        in_dataset=sum(_lines(folder / name) for name in ("train.jsonl", "validation.jsonl", "rejects.jsonl")),
        failed=_lines(folder / "failed.jsonl"),
        bodies_billed=books["distinct_bodies_billed"],
        billed_twice=books["billed_twice"],
        delivered=books["delivered"],
        billed=books["picodollars_billed"],
        settled=totals.settled,
        uncertain=totals.uncertain + totals.reserved,
        training_usd=_training_usd(folder / "finetune.json"),
    )


def _training_usd(path: Path) -> float:
    return float(json.loads(path.read_bytes())["summary"]["usd"] or 0.0) if path.exists() else 0.0


def _lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0
