"""The prices that a recipe's requests are counted at: its own, or the table's, told by each provider's address."""

from collections.abc import Mapping
from pathlib import Path

from tunemill.errors import RecipeError
from tunemill.model import Lane
from tunemill.pricing import Price, price_of, price_per_million
from tunemill.recipe.faults import key_at
from tunemill.recipe.sections import DEFAULT_BASE_URL, Recipe


def base_urls_of(recipe: Recipe, *, default: str = DEFAULT_BASE_URL) -> dict[str, str]:
    """Each provider's address by its name; "" is `[provider]`. `default` is where that goes if it names none."""
    urls = {"": recipe.provider.base_url or default}
    return urls | {name: provider.base_url or default for name, provider in recipe.providers.items()}


def overrides_of(recipe: Recipe) -> dict[str, Price]:
    """`[pricing]` as prices, by model."""
    return {
        model: price_per_million(
            input_usd=section.input_per_million,
            output_usd=section.output_per_million,
            cached_input_usd=section.cached_input_per_million,
            training_usd=section.training_per_million,
            source="the recipe's [pricing]",
        )
        for model, section in recipe.pricing.items()
    }


def price_in(recipe: Recipe, lane: Lane, base_urls: Mapping[str, str]) -> Price | None:
    """The price of one model at one of the recipe's providers; None where it is not known."""
    return price_of(lane.model, base_urls[lane.provider], overrides_of(recipe))


def prices_of_steps(
    recipe: Recipe, base_urls: Mapping[str, str], *, file: Path, under_budget: bool
) -> dict[Lane, Price | None]:
    """The price of every step's model. `under_budget`, an unknown one raises RecipeError: unknown is not zero."""
    prices: dict[Lane, Price | None] = {}
    for position, step in enumerate(recipe.steps):
        lane = Lane(step.provider, step.model)
        if lane not in prices:
            prices[lane] = price_in(recipe, lane, base_urls)
        if prices[lane] is None and under_budget:
            table = key_at(("pricing", step.model))
            mend = (
                f"write [{table}] with input_per_million and output_per_million in dollars (0 for a model of your "
                "own), or run without a budget"
            )
            problem = f"no price is known for this model at {base_urls[step.provider]}, so no budget can be kept"
            raise RecipeError(problem, mend=mend, file=file, key=f"steps[{position}].model", value=step.model)
    return prices
