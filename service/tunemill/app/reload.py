"""A recipe that is read again in mid-run: what of it may be another, and whether the run can go on by it.

May change: templates, parameters of steps, limits, the budget, and what only later stages read ([clean], [train]). All
else decides what is on record already, or where money goes: for that the run is ended and begun again.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tunemill.app.open_run import OpenRecipe, check_can_be_written_down, with_budget
from tunemill.errors import RecipeError
from tunemill.model import Picodollars, picodollars
from tunemill.plan import Planner
from tunemill.recipe import LoadedRecipe, Recipe, check_templates_against, check_under_budget, load_recipe
from tunemill.recipe.faults import RecipeFaults

_FIXED = ("name", "provider", "providers", "source", "pricing", "fine_tune", "notify")
_FIXED_IN_A_STEP = ("name", "model", "provider", "endpoint", "samples")
_MEND = "put it back, or stop the run and run the recipe again"


def read_again(before: LoadedRecipe, *, budget_usd: float | None) -> LoadedRecipe:
    """The recipe's file as it is now. `budget_usd` counts instead of its own. Raises RecipeError."""
    loaded = with_budget(load_recipe(before.path), budget_usd)
    faults = list(_what_may_not_change(before.recipe, loaded.recipe, loaded.path))
    if faults:
        raise RecipeFaults.of(faults)
    check_can_be_written_down(loaded)
    return loaded


def opened_by(opened: OpenRecipe, loaded: LoadedRecipe) -> OpenRecipe:
    """What is open already, by what the recipe says now. Raises RecipeError where the run cannot go on by it."""
    cap = None if loaded.recipe.budget is None else picodollars(loaded.recipe.budget.usd)
    check_fits_budget(replace(opened, loaded=loaded), cap)
    check_templates_against(loaded.recipe, loaded.path, opened.source.fields)
    return replace(opened, loaded=loaded, planner=Planner(loaded.recipe), budget=cap)


def check_fits_budget(opened: OpenRecipe, cap: Picodollars | None) -> None:
    """Whether the run can keep to a cap at all. Raises RecipeError."""
    if cap is None:
        return
    check_under_budget(opened.loaded)
    if unknown := opened.prices.unknown:
        raise RecipeError(
            f"the price of {', '.join(unknown)} is not known, and was not when the run began without a budget",
            mend="stop the run, give the price under [pricing], and run the recipe again",
            file=opened.loaded.path,
            key="budget",
        )


def steps_that_changed(before: Recipe, after: Recipe) -> list[str]:
    """Names of the steps whose requests come out as others now: their own templates or parameters changed."""
    return [new.name for old, new in zip(before.steps, after.steps, strict=True) if old != new]


def _what_may_not_change(before: Recipe, after: Recipe, path: Path) -> Iterator[RecipeError]:
    for key in _FIXED:
        if getattr(before, key) != getattr(after, key):
            yield _fixed(f"{key} changed", path, key)
    if len(before.steps) != len(after.steps):
        yield _fixed(f"there were {len(before.steps)} steps and now there are {len(after.steps)}", path, "steps")
        return
    for position, (old, new) in enumerate(zip(before.steps, after.steps, strict=True)):
        for key in _FIXED_IN_A_STEP:
            was, now = getattr(old, key), getattr(new, key)
            if was != now:
                yield _fixed(f"it was {was!r} and now it is {now!r}", path, f"steps[{position}].{key}")


def _fixed(what: str, path: Path, key: str) -> RecipeError:
    return RecipeError(f"{what}, which may not change while the run is under way", mend=_MEND, file=path, key=key)
