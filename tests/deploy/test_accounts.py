"""The comparison of both books, on which smoke and drill rest: it finds each thing that does not fit."""

from dataclasses import replace
from typing import Any

import pytest
from deploy.rehearse.accounts import Accounts

CENT = 10_000_000_000  # picodollars
FITTING = Accounts(
    rows=100, in_dataset=98, failed=2, bodies_billed=100, billed_twice=3, delivered=101,
    billed=10 * CENT, settled=9 * CENT, uncertain=2 * CENT, training_usd=0.5,
)  # fmt: skip


def test_books_that_fit_have_no_fault() -> None:
    """At the limit of what may be in doubt, and of the budget."""
    assert list(FITTING.faults(budget_usd=0.61, doubtful=3)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"in_dataset": 97}, "97 in the dataset"),
        ({"bodies_billed": 99}, "99 different requests"),
        ({"billed_twice": 4}, "4 requests billed twice"),
        ({"settled": 11 * CENT, "uncertain": 0}, "not within settled"),
        ({"uncertain": 0}, "not within settled"),
        ({"training_usd": 0.51}, "above the budget"),
    ],
)
def test_each_fault_is_found(wrong: dict[str, Any], said: str) -> None:
    """A row that is missing, a request that is, too much in doubt, an answer unpaid, a charge unseen, a cent more."""
    (fault,) = replace(FITTING, **wrong).faults(budget_usd=0.61, doubtful=3)
    assert said in fault
