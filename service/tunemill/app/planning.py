"""`plan` for a recipe as it stands in this environment, and what a plan means for a run that is about to start."""

from collections.abc import Mapping
from pathlib import Path

from tunemill.model import picodollars
from tunemill.plan import Plan, PlanOptions, base_urls_of, make_plan
from tunemill.recipe import load_recipe
from tunemill.settings import default_base_url


def plan_recipe(
    path: Path, environment: Mapping[str, str], *, budget_usd: float | None = None, limit: int | None = None
) -> Plan:
    """The plan. Raises UserError."""
    loaded = load_recipe(path)
    options = PlanOptions(
        budget=None if budget_usd is None else picodollars(budget_usd),
        limit=limit,
        base_urls=base_urls_of(loaded.recipe, default=default_base_url(environment)),
    )
    return make_plan(loaded, options)
