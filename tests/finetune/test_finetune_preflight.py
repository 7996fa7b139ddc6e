"""What is looked at before anything is sent."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.finetune.finetune_support import made, order_of, submission

from tunemill.client.fine_tuning_values import ModelInfo
from tunemill.errors import ProviderRefused, RecipeError, RunFolderError
from tunemill.finetune.decide import OverBudget
from tunemill.finetune.order import assumptions_of, estimate_of, shortfall
from tunemill.finetune.preflight import CheckedFile, epochs_of, model_warnings, require_enough, require_valid
from tunemill.finetune.record import FineTuneRecord
from tunemill.recipe.sections import FineTuneSection

PATH = Path("runs/movie-plots/train.jsonl")
TODAY = date(2026, 11, 21)
LISTED = [
    ModelInfo(id="gpt-4o-mini-2024-07-18", shutdown_date=date(2027, 1, 14)),
    ModelInfo(id="gpt-4.1-mini-2025-04-14", shutdown_date=date(2026, 11, 21)),
    ModelInfo(id="llama-3.3-70b", shutdown_date=date(2027, 1, 21)),
    ModelInfo(id="davinci-002"),
]
REPORT = CheckedFile(faults=(), examples=100, tokens=10_000)
EMPTY = FineTuneRecord(run="r")


def test_a_file_with_faults_is_refused_with_the_first_of_them() -> None:
    """Three faults are shown, the rest are counted, and the mend says where to see them all."""
    report = CheckedFile(faults=["line 1: a", "line 2: b", "line 3: c", "line 9: d"], examples=100, tokens=1)
    with pytest.raises(RunFolderError) as raised:
        require_valid(PATH, report)
    assert str(raised.value) == (
        "runs/movie-plots/train.jsonl: is not a valid training file: line 1: a; line 2: b; line 3: c; and 1 more; "
        "`tunemill check runs/movie-plots/train.jsonl` lists every fault; mend the recipe and build again"
    )


def test_nine_examples_are_too_few_and_ten_are_enough() -> None:
    """Targets refuse less than ten."""
    require_enough(PATH, CheckedFile(faults=(), examples=10, tokens=1))
    with pytest.raises(RunFolderError, match="has 9 examples, and fine-tuning needs at least 10"):
        require_enough(PATH, CheckedFile(faults=(), examples=9, tokens=1))


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(10, 10), (12, 9), (33, 4), (34, 3), (100, 3), (8333, 3), (8334, 3), (12_500, 2), (12_501, 2), (100_000, 1)],
)
def test_auto_epochs_follow_the_documented_default(examples: int, epochs: int) -> None:
    """3, more for small files, fewer for large ones, always rounded up."""
    assert epochs_of("auto", examples) == epochs


@given(st.integers(min_value=0, max_value=10**7))
def test_auto_epochs_stay_in_their_range(examples: int) -> None:
    """1 to 25, whatever the file."""
    assert 1 <= epochs_of("auto", examples) <= 25


def test_epochs_that_are_chosen_are_taken() -> None:
    """No assumption is made, and none is told."""
    order = order_of(PATH)
    estimate = estimate_of(order, REPORT)
    assert (estimate.epochs, estimate.epochs_assumed) == (3, False)
    assert estimate.cost() == 10_000 * 3 * 3_000_000
    assert assumptions_of(estimate) == ()


def test_epochs_that_are_assumed_are_told_with_the_price() -> None:
    """The person learns what the figure rests on."""
    order = order_of(PATH, section=FineTuneSection(model="m"))
    assert assumptions_of(estimate_of(order, REPORT)) == (
        'n_epochs = "auto": the target chooses; the price ($0.0900) assumes 3 epochs for 100 examples',
    )


def test_a_model_that_is_not_listed_is_refused_with_the_nearest_names() -> None:
    """A slip of the pen is mended by reading the message."""
    with pytest.raises(ProviderRefused) as raised:
        model_warnings("gpt-4o-mini-2024-07-81", LISTED, today=TODAY)
    assert "'gpt-4o-mini-2024-07-81': the target does not list it; the nearest are gpt-4o-mini-2024-07-18" in str(
        raised.value
    )


def test_a_model_like_no_other_is_refused_with_what_there_is() -> None:
    """Where nothing is near, a few names are shown."""
    with pytest.raises(ProviderRefused, match=r"it lists davinci-002, gpt-4.1-mini"):
        model_warnings("qwen", LISTED, today=TODAY)


def test_a_target_that_lists_nothing_is_believed() -> None:
    """Many servers keep no list of models."""
    assert model_warnings("anything", [], today=TODAY) == ()


def test_a_model_that_has_shut_down_is_refused() -> None:
    """On the day itself, too."""
    with pytest.raises(ProviderRefused, match="shut down on 2026-11-21; choose a model that goes on"):
        model_warnings("gpt-4.1-mini-2025-04-14", LISTED, today=TODAY)


def test_a_model_that_is_about_to_shut_down_is_warned_of() -> None:
    """54 days are soon, 61 are not, and no date is none."""
    assert model_warnings("gpt-4o-mini-2024-07-18", LISTED, today=TODAY) == (
        "gpt-4o-mini-2024-07-18 shuts down on 2027-01-14, in 54 days, and every tune of it with it",
    )
    assert model_warnings("llama-3.3-70b", LISTED, today=TODAY) == ()
    assert model_warnings("davinci-002", LISTED, today=TODAY) == ()


def test_an_unknown_price_under_a_budget_is_refused() -> None:
    """Unknown is not zero."""
    order = order_of(PATH, price=None, left=10**12)
    with pytest.raises(RecipeError) as raised:
        shortfall(order, EMPTY, estimate_of(order, REPORT))
    assert str(raised.value) == (
        "fine_tune.model = 'gpt-4o-mini-2024-07-18': the training price of this model is unknown, and there is a "
        'budget; set training_per_million under [pricing."gpt-4o-mini-2024-07-18"], or take [budget] out'
    )


def test_without_a_budget_no_price_is_needed() -> None:
    """And none is made up."""
    order = order_of(PATH, price=None)
    assert shortfall(order, EMPTY, estimate_of(order, REPORT)) is None
    assert estimate_of(order, REPORT).cost() is None


def test_the_budget_may_be_used_up_exactly() -> None:
    """A picodollar less is too little."""
    cost = 10_000 * 3 * 3_000_000
    exact, short = order_of(PATH, left=cost), order_of(PATH, left=cost - 1)
    assert shortfall(exact, EMPTY, estimate_of(exact, REPORT)) is None
    assert shortfall(short, EMPTY, estimate_of(short, REPORT)) == OverBudget(record=EMPTY, cost=cost, left=cost - 1)


def test_earlier_jobs_of_the_run_are_paid_from_the_same_budget() -> None:
    """What a job that may exist can cost is not spent a second time."""
    record = FineTuneRecord(run="r", submissions=(submission(made()),))
    order = order_of(PATH, left=10_000 * 3 * 3_000_000)
    verdict = shortfall(order, record, estimate_of(order, REPORT))
    assert isinstance(verdict, OverBudget)
    assert verdict.left == 9_000 * 3 * 3_000_000


def test_a_rehearsal_costs_the_real_budget_nothing() -> None:
    """Simulated dollars are counted apart."""
    rehearsed = submission(made(), destination=order_of(PATH, simulated=True).destination)
    record = FineTuneRecord(run="r", submissions=(rehearsed,))
    order = order_of(PATH, left=10_000 * 3 * 3_000_000)
    assert shortfall(order, record, estimate_of(order, REPORT)) is None
