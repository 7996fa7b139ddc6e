"""The dollar cap. A plain object: it takes amounts and says yes or no; it knows no clock, no file and no network.

Promise: settled + uncertain + reserved <= cap at every moment, as long as no answer costs more than its reservation.
"""

from tunemill.model import Picodollars


class Budget:
    """What is spent, what may have been spent, and what is set aside for requests that are under way.

    reserve ──> settle   the answer came: its price counts
            ├─> doubt    no answer was seen, but one may have been billed: all of it counts as uncertain
            └─> release  nothing was billed: all of it is free again
    """

    __slots__ = ("cap", "overrun", "reserved", "settled", "uncertain")

    def __init__(self, cap: Picodollars | None, *, settled: Picodollars = 0, uncertain: Picodollars = 0) -> None:
        self.cap = cap
        self.settled = settled
        self.uncertain = uncertain
        self.reserved = 0
        self.overrun = 0  # by how much answers cost more than their worst case: stays 0 unless a bound is wrong

    @property
    def committed(self) -> Picodollars:
        """All that counts against the cap."""
        return self.settled + self.uncertain + self.reserved

    @property
    def free(self) -> Picodollars | None:
        """What may still be reserved; None without a cap. Below zero where the cap was lowered."""
        return None if self.cap is None else self.cap - self.committed

    @property
    def is_exceeded(self) -> bool:
        """Whether more is committed than may be: only where the cap was lowered, or where a bound was wrong."""
        return self.cap is not None and self.committed > self.cap

    def reaches(self, worst: Picodollars) -> bool:
        """Whether a worst case would fit if nothing that is reserved came to cost anything."""
        return self.cap is None or self.settled + self.uncertain + worst <= self.cap

    def change_cap(self, cap: Picodollars | None) -> None:
        """Another cap from now on; None is none. Below what is committed, nothing more can be reserved."""
        assert cap is None or cap >= 0, cap
        self.cap = cap

    def reserve(self, worst: Picodollars) -> bool:
        """Set aside a worst case; False where it does not fit now."""
        assert worst >= 0, worst
        if self.cap is not None and self.committed + worst > self.cap:
            return False
        self.reserved += worst
        return True

    def settle(self, worst: Picodollars, cost: Picodollars) -> None:
        """The answer came and cost `cost`."""
        self.release(worst)
        self.settled += cost
        self.overrun += max(0, cost - worst)

    def doubt(self, worst: Picodollars) -> None:
        """No answer was seen, but it may have been billed."""
        self.release(worst)
        self.uncertain += worst

    def release(self, worst: Picodollars) -> None:
        """Nothing was billed."""
        assert 0 <= worst <= self.reserved, (worst, self.reserved)
        self.reserved -= worst
