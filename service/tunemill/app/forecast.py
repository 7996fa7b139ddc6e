"""What a run is going to cost, said in time: before the first request, and whenever the forecast passes the cap."""

from collections.abc import Callable, Mapping

from tunemill.app.open_run import OpenRecipe
from tunemill.events import BudgetShort, Completed, Event
from tunemill.model import Picodollars
from tunemill.plan import PlanOptions, base_urls_of, make_plan
from tunemill.settings import default_base_url
from tunemill.statistics import RunStatistics

COMPLETIONS_BETWEEN_LOOKS = 25


def expected_costs(opened: OpenRecipe, environment: Mapping[str, str], *, limit: int | None) -> dict[str, Picodollars]:
    """What one answer of each step is expected to cost, by step name, as the plan has it; unknown ones are left out."""
    urls = base_urls_of(opened.recipe, default=default_base_url(environment))
    plan = make_plan(opened.loaded, PlanOptions(budget=opened.budget, limit=limit, base_urls=urls))
    return {
        step.name: step.expected // step.remaining
        for step in plan.steps
        if step.expected is not None and step.remaining
    }


class BudgetWatch:
    """Looks at the forecast now and then; tells once that the budget will not do, and how many rows will fit."""

    def __init__(self, statistics: Callable[[], RunStatistics], *, rows: int, emit: Callable[[Event], None]) -> None:
        self._statistics = statistics
        self._rows = rows
        self._emit = emit
        self._seen = 0
        self._has_told = False

    def on_event(self, event: Event) -> None:
        """Look again after every so many completions."""
        if isinstance(event, Completed) and not self._has_told:
            self._seen += 1
            if self._seen % COMPLETIONS_BETWEEN_LOOKS == 0:
                self.look()

    def look_again(self) -> None:
        """The budget is another one: what was told of the old one is forgotten."""
        self._has_told = False
        self.look()

    def look(self) -> None:
        """Tell, if there is something to tell."""
        money = self._statistics().money
        if money.budget is None or money.forecast is None or money.forecast <= money.budget:
            return
        self._has_told = True
        fit = int(self._rows * money.budget / money.forecast)
        self._emit(
            BudgetShort(budget=money.budget, forecast=money.forecast, rows_that_fit=fit, rows_planned=self._rows)
        )
