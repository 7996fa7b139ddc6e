"""What one attempt took of its model's limits when it was let through; by this its reply is understood."""

from dataclasses import dataclass

from tunemill.engine.calibration import Mark
from tunemill.engine.rates import Taken
from tunemill.engine.size import Size
from tunemill.frozen import quickly_made


@quickly_made
@dataclass(frozen=True, slots=True)
class Passage:
    """One attempt that was let through: what it took of each limit."""

    at: float
    size: Size
    mark: Mark
    requests: Taken
    tokens: Taken
