"""The training curve that a simulated fine-tuning job reports: plausible, seeded, and any step at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

_START, _FLOOR = 2.4, 0.9  # loss at the first step, and what it tends to
_NOISE = 0.12
_VALID_GAP = 0.08  # how much worse the validation loss is
_VALIDATIONS = 20  # at most so many in a whole job
RESULTS_HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The metrics of one step. Where nothing was validated, `valid_loss` and its accuracy are None."""

    step: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """All steps of one job, counted from 1 to `steps`."""

    steps: int
    seed: bytes
    validated: bool

    def point(self, step: int) -> Point:
        """The metrics of one step."""
        train = self._loss(step, b"train", 0.0)
        validates = self.validated and (step == self.steps or step % max(1, self.steps // _VALIDATIONS) == 0)
        valid = self._loss(step, b"valid", _VALID_GAP) if validates else None
        return Point(
            step=step,
            train_loss=train,
            train_accuracy=_accuracy(train),
            valid_loss=valid,
            valid_accuracy=None if valid is None else _accuracy(valid),
        )

    def results(self) -> Iterator[str]:
        """The lines of the results file, as CSV."""
        yield RESULTS_HEADER
        for point in map(self.point, range(1, self.steps + 1)):
            valid = "," if point.valid_loss is None else f"{point.valid_loss:.5f},{point.valid_accuracy:.5f}"
            yield f"{point.step},{point.train_loss:.5f},{point.train_accuracy:.5f},{valid}\n"

    def _loss(self, step: int, name: bytes, gap: float) -> float:
        fallen = _FLOOR + (_START - _FLOOR) * math.exp(-4 * (step - 1) / max(1, self.steps))
        digest = blake2b(self.seed + step.to_bytes(8, "big"), digest_size=4, person=name).digest()
        return round(fallen * (1 + _NOISE * (int.from_bytes(digest, "big") / 2**32 - 0.5)) + gap, 5)


def _accuracy(loss: float) -> float:
    return round(max(0.0, 1 - loss / 4), 5)
