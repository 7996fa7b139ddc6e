"""The budget as a state machine: whatever happens in whatever order, no more is committed than may be."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tunemill.engine import Budget

AMOUNTS = st.integers(0, 50)
CAPS = st.none() | st.integers(0, 400)


class BudgetMachine(RuleBasedStateMachine):
    """Reservations that were granted wait in a bundle until something becomes of them. The books beside are simple:
    what was granted and not yet ended, what was billed, and what may have been."""

    granted = Bundle("granted")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(None)
        self.cap: int | None = None
        self.open = 0
        self.settled = 0
        self.uncertain = 0
        self.ceiling = 0  # what was committed when the cap was lowered below it: nothing may be added to that

    @rule(cap=CAPS, settled=AMOUNTS, uncertain=AMOUNTS)
    def reopen(self, cap: int | None, settled: int, uncertain: int) -> None:
        """A new process begins with what is on record, perhaps under a cap that is lower than that."""
        if self.open:
            return
        self.settled, self.uncertain = self.settled + settled, self.uncertain + uncertain
        self.budget = Budget(cap, settled=self.settled, uncertain=self.uncertain)
        self._capped(cap)

    @rule(cap=CAPS)
    def change_cap(self, cap: int | None) -> None:
        self.budget.change_cap(cap)
        self._capped(cap)

    def _capped(self, cap: int | None) -> None:
        self.cap, self.ceiling = cap, self._committed()

    @rule(target=granted, worst=AMOUNTS)
    def reserve(self, worst: int) -> int:
        return self._reserve(worst)

    def _reserve(self, worst: int) -> int:
        """Granted just when it fits; the amount, or a reservation of nothing where it was not granted."""
        fits = self.cap is None or self._committed() + worst <= self.cap
        free = self.budget.free
        assert free is None or (free >= worst) is fits
        assert self.budget.reserve(worst) is fits
        if not fits:
            assert self.budget.reserved == self.open
            return 0
        self.open += worst
        return worst

    @rule(target=granted, beside=st.integers(-1, 1))
    def reserve_the_rest(self, beside: int) -> int:
        """All that is left to the last picodollar fits, and one more does not."""
        free = 0 if self.cap is None else self.cap - self._committed()
        return self._reserve(max(0, free + beside))

    @rule(worst=consumes(granted), share=st.floats(0, 1))
    def settle(self, worst: int, share: float) -> None:
        """An answer costs its worst case at most."""
        cost = int(worst * share)
        self.budget.settle(worst, cost)
        self.open, self.settled = self.open - worst, self.settled + cost

    @rule(worst=consumes(granted))
    def doubt(self, worst: int) -> None:
        self.budget.doubt(worst)
        self.open, self.uncertain = self.open - worst, self.uncertain + worst

    @rule(worst=consumes(granted))
    def release(self, worst: int) -> None:
        self.budget.release(worst)
        self.open -= worst

    @invariant()
    def never_above_the_cap(self) -> None:
        """Only a cap that was lowered below what was committed is exceeded, and then by nothing new."""
        committed = self.budget.committed
        assert self.cap is None or committed <= max(self.cap, self.ceiling)
        assert self.budget.is_exceeded is (self.cap is not None and committed > self.cap)
        assert self.budget.free == (None if self.cap is None else self.cap - committed)
        assert self.budget.overrun == 0

    @invariant()
    def the_books_beside_say_the_same(self) -> None:
        budget = self.budget
        assert (budget.reserved, budget.settled, budget.uncertain) == (self.open, self.settled, self.uncertain)
        assert budget.committed == self._committed()

    def _committed(self) -> int:
        return self.open + self.settled + self.uncertain


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=60, stateful_step_count=40)
