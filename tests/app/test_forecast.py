"""The warning that a budget will not do: when it comes, what it says, and when it comes again."""

from dataclasses import replace

from tunemill.app.forecast import FIRST_LOOK, GAP_MIN, BudgetWatch
from tunemill.events import BudgetShort, Completed, Event
from tunemill.model import Lane, Picodollars, RunState
from tunemill.statistics import Money, RequestCounts, RunStatistics

ROWS = 200
ANSWER = Completed(
    request_id="", row_id="", step="plot", sample=0, attempt=1, lane=Lane("", "small"), outcome="stop", usage=None,
    cost=1, duration_s=1.0, text="",
)  # fmt: skip


class Watched:
    """A watch over figures that the test sets, and what it told."""

    def __init__(self, forecast: Picodollars | None, *, budget: Picodollars | None = 1000) -> None:
        self.told: list[BudgetShort] = []
        self.looks = 0
        self.money = Money(settled=0, uncertain=0, reserved=0, budget=budget, forecast=forecast)
        self.watch = BudgetWatch(self._take, rows=ROWS, emit=self._heard)

    def forecast(self, amount: Picodollars) -> None:
        self.money = replace(self.money, forecast=amount)
        self.watch.look()

    def fitting(self) -> list[int]:
        """How many rows each warning said will fit."""
        return [event.rows_that_fit for event in self.told]

    def _take(self) -> RunStatistics:
        self.looks += 1
        counts = RequestCounts(planned=ROWS, completed=0, failed=0, waiting=ROWS, in_flight=0)
        return RunStatistics(run="r", state=RunState.RUNNING, simulated=False, requests=counts, money=self.money)

    def _heard(self, event: Event) -> None:
        assert isinstance(event, BudgetShort)
        self.told.append(event)


def test_it_tells_how_many_rows_will_fit_once() -> None:
    """At once where the forecast is above the budget, and not again while it stays about there."""
    watched = Watched(2000)
    watched.watch.look()
    watched.forecast(2010)
    watched.forecast(1900)
    assert watched.told == [BudgetShort(budget=1000, forecast=2000, rows_that_fit=100, rows_planned=ROWS)]


def test_it_tells_again_where_it_matters() -> None:
    """Clearly fewer rows than were said to fit; or too dear again after it was within the budget; or another budget."""
    watched = Watched(2000)
    watched.watch.look()
    watched.forecast(4000)
    assert watched.fitting() == [100, 50]
    watched.forecast(900)
    watched.forecast(1250)
    assert watched.fitting() == [100, 50, 160]
    watched.watch.look_again()
    assert watched.fitting() == [100, 50, 160, 160]


def test_without_a_budget_or_a_forecast_there_is_nothing_to_tell() -> None:
    """Unknown is not too much."""
    for watched in (Watched(None), Watched(2000, budget=None), Watched(1000)):
        watched.watch.look()
        assert watched.told == []


def test_it_looks_early_and_then_less_and_less_often() -> None:
    """After ten answers, and a few hundred times in a hundred thousand."""
    watched = Watched(500)
    for _ in range(FIRST_LOOK):
        watched.watch.on_event(ANSWER)
    assert watched.looks == 1
    for _ in range(GAP_MIN):
        watched.watch.on_event(ANSWER)
    assert watched.looks == 2
    for _ in range(100_000):
        watched.watch.on_event(ANSWER)
    assert watched.looks < 500
