"""The dollar cap as a state machine: whatever the order of things, it holds."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tunemill.engine import Budget

AMOUNTS = st.integers(0, 10**13)


class AnyOrder(RuleBasedStateMachine):
    """Reservations come, and are settled, doubted or released, in any order; the cap may be anything, also none."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(10**13)
        self.reserved: list[int] = []
        self.settled = self.uncertain = 0

    @rule(target=reservations, worst=AMOUNTS)
    def reserve(self, worst: int) -> object:
        fits = self.settled + self.uncertain + sum(self.reserved) + worst <= 10**13
        assert self.budget.reserve(worst) == fits
        if not fits:
            return multiple()
        self.reserved.append(worst)
        return worst

    @rule(worst=consumes(reservations), share=st.fractions(0, 1))
    def settle(self, worst: int, share: float) -> None:
        cost = int(worst * share)
        self.budget.settle(worst, cost)
        self.reserved.remove(worst)
        self.settled += cost

    @rule(worst=consumes(reservations))
    def doubt(self, worst: int) -> None:
        self.budget.doubt(worst)
        self.reserved.remove(worst)
        self.uncertain += worst

    @rule(worst=consumes(reservations))
    def release(self, worst: int) -> None:
        self.budget.release(worst)
        self.reserved.remove(worst)

    @invariant()
    def the_cap_holds(self) -> None:
        budget = self.budget
        assert (budget.settled, budget.uncertain, budget.reserved) == (self.settled, self.uncertain, sum(self.reserved))
        assert budget.committed <= 10**13
        assert budget.free == 10**13 - budget.committed >= 0
        assert min(budget.settled, budget.uncertain, budget.reserved, budget.overrun) >= 0
        assert budget.overrun == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40)


def test_without_a_cap_everything_fits() -> None:
    """And is counted all the same."""
    budget = Budget(None)
    assert budget.reserve(10**30)
    assert budget.free is None
    budget.doubt(10**30)
    assert budget.committed == 10**30


def test_what_was_spent_before_counts() -> None:
    """A resumed run goes on with its own ledger; a cap that was lowered below it lets nothing through."""
    budget = Budget(100, settled=70, uncertain=20)
    assert not budget.reserve(11)
    assert budget.reserve(10)
    lowered = Budget(50, settled=70, uncertain=20)
    assert lowered.free == -40
    assert not lowered.reserve(0)


def test_an_answer_dearer_than_its_worst_case_is_counted_in_full_and_noted() -> None:
    """A bound that was wrong is not hidden: the overrun says by how much."""
    budget = Budget(100)
    budget.reserve(10)
    budget.settle(10, 25)
    assert (budget.settled, budget.reserved, budget.overrun) == (25, 0, 15)


@pytest.mark.parametrize("worst", [-1, 11])
def test_giving_back_what_was_not_reserved_is_a_bug(worst: int) -> None:
    """Programmer errors are asserted."""
    budget = Budget(100)
    budget.reserve(10)
    with pytest.raises(AssertionError):
        budget.release(worst)


def test_what_is_reserved_may_come_free_and_what_is_spent_may_not() -> None:
    """A request that does not fit now is within reach while what is in flight may turn out cheap."""
    budget = Budget(100, settled=40)
    assert budget.reserve(50)
    assert not budget.reserve(20)
    assert budget.reaches(20)
    budget.settle(50, 45)
    assert not budget.reaches(20)
    assert budget.reaches(15)
    assert Budget(None, settled=10**30).reaches(10**30)


def test_another_cap_holds_from_now_on() -> None:
    """Raised, there is room again; lowered, nothing fits; none is no cap."""
    budget = Budget(100, settled=100)
    assert not budget.reserve(1)
    budget.change_cap(150)
    assert budget.reserve(50)
    budget.change_cap(120)
    assert budget.free == -30
    assert not budget.reserve(0)
    budget.change_cap(None)
    assert budget.reserve(10**30)
