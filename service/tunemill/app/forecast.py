"""What a run is going to cost, said in time: before the first request, and whenever the forecast passes the cap."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tunemill.app.open_run import OpenRecipe
from tunemill.events import BudgetShort, Completed, Event
from tunemill.model import Picodollars
from tunemill.plan import PlanOptions, base_urls_of, make_plan
from tunemill.settings import default_base_url
from tunemill.statistics import Money, RunStatistics

FIRST_LOOK = 10  # answers: before that, the mean of what they cost says little
GAP_MIN, GAP_SHARE = 25, 0.02  # the next look comes after so many answers more, or after this share of those seen
MATTERS = 0.9  # told again where this part, or less, of the rows that were said to fit will


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected to be paid, as the plan has it: one answer of each step, by step name (unknown ones are left
    out), and the fine-tuning job (0 where there is none, or its price is not known)."""

    steps: Mapping[str, Picodollars]
    training: Picodollars


def expected_costs(opened: OpenRecipe, environment: Mapping[str, str], *, limit: int | None) -> Expected:
    """What answers and training will cost, by the plan for these rows."""
    urls = base_urls_of(opened.recipe, default=default_base_url(environment))
    plan = make_plan(opened.loaded, PlanOptions(budget=opened.budget, limit=limit, base_urls=urls))
    steps = {
        step.name: step.expected // step.remaining
        for step in plan.steps
        if step.expected is not None and step.remaining
    }
    return Expected(steps=steps, training=(plan.training and plan.training.cost) or 0)


def rows_that_fit(rows: int, money: Money) -> int | None:
    """About how many of the planned rows the budget will do for; None where there is no budget, or no forecast yet."""
    if money.budget is None or money.forecast is None:
        return None
    return rows if money.forecast <= money.budget else rows * money.budget // money.forecast


class BudgetWatch:
    """Looks at the forecast now and then; tells that the budget will not do, and how many rows will fit.

    It tells once, and again only where clearly fewer rows will fit than it said, or where the forecast was within the
    budget in between.
    """

    def __init__(
        self,
        statistics: Callable[[], RunStatistics],
        *,
        rows: int,
        emit: Callable[[Event], None],
    ) -> None:
        self._statistics = statistics
        self._rows = rows
        self._emit = emit
        self._seen = 0
        self._look_at = FIRST_LOOK
        self._told: int | None = None  # how many rows were said to fit

    def on_event(self, event: Event) -> None:
        """Look again after every so many completions, which grow more: the forecast moves less and less."""
        if isinstance(event, Completed):
            self._seen += 1
            if self._seen >= self._look_at:
                self._look_at = self._seen + max(GAP_MIN, int(self._seen * GAP_SHARE))
                self.look()

    def look_again(self) -> None:
        """The budget is another one: what was told of the old one is forgotten."""
        self._told = None
        self.look()

    def look(self) -> None:
        """Tell, if there is something to tell."""
        money = self._statistics().money
        fit = rows_that_fit(self._rows, money)
        if fit is None or money.budget is None or money.forecast is None:
            return
        if money.forecast <= money.budget:
            self._told = None
        elif self._told is None or fit < MATTERS * self._told:
            self._told = fit
            self._emit(
                BudgetShort(budget=money.budget, forecast=money.forecast, rows_that_fit=fit, rows_planned=self._rows)
            )
