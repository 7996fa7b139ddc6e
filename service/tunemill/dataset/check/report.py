"""What `check` found, as one value and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunemill.dataset.check.faults import Fault, FaultKind, Severity
from tunemill.dataset.check.kinds import TrainFormat
from tunemill.dataset.lengths import Lengths
from tunemill.model import Json, Picodollars

FAULTS_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """A file, measured and judged.

    `faults` are the first thousand, in the order of lines, those of the file as a whole last; `counts` counts all of
    them. `format` is None where no line told one. `tokens` is an estimate (characters / 4; images and audio count
    nothing). `example_tokens_max` is None where the model's limit is not known, or no model was named.
    """

    path: Path
    size: int
    format: TrainFormat | None
    model: str | None
    example_tokens_max: int | None
    lines: int
    examples: int
    roles: Mapping[str, int]
    lengths: Lengths
    tokens: int
    counts: Mapping[FaultKind, int]
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> int:
        """How many faults a target would refuse the file for."""
        return sum(count for kind, count in self.counts.items() if kind.severity is Severity.ERROR)

    @property
    def warnings(self) -> int:
        """How many faults make a worse model, or are a risk."""
        return sum(self.counts.values()) - self.errors

    @property
    def is_valid(self) -> bool:
        """Whether a target will take the file."""
        return self.errors == 0

    def to_json(self) -> dict[str, Json]:
        """The shape of `check --json`."""
        return {
            "path": str(self.path),
            "valid": self.is_valid,
            "errors": self.errors,
            "warnings": self.warnings,
            "format": None if self.format is None else self.format.value,
            "model": self.model,
            "bytes": self.size,
            "lines": self.lines,
            "examples": self.examples,
            "roles": dict(self.roles),
            "tokens_estimate": self.tokens,
            "example_tokens_max": self.example_tokens_max,
            "lengths": self.lengths.to_json(),
            "faults_by_kind": {kind.code: count for kind, count in self.counts.items()},
            "faults_left_off": sum(self.counts.values()) - len(self.faults),
            "faults": [fault.to_json() for fault in self.faults],
        }


def training_price(tokens: int, *, epochs: int, price_per_token: Picodollars) -> Picodollars:
    """What training costs: tokens of the training file x epochs x the price of one token."""
    assert tokens >= 0, tokens
    assert epochs >= 1, epochs
    return tokens * epochs * price_per_token
