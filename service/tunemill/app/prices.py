"""Prices for a recipe: the table's, or the recipe's own; and what they mean for requests."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunemill.engine import Prices
from tunemill.errors import RecipeError
from tunemill.model import Lane, Picodollars, Request, Usage
from tunemill.pricing import Price, price_of, price_per_million
from tunemill.recipe import LoadedRecipe, Recipe
from tunemill.settings import base_url_of

# Where nothing in a request bounds its answer, which only a recipe without a budget may do, this is what an answer that
# nobody saw is counted at.
OUTPUT_TOKENS_UNBOUNDED = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The price of each lane (None: not known) and of training the fine-tune's model."""

    lanes: Mapping[Lane, Price | None]
    training: Price | None

    @property
    def unknown(self) -> list[str]:
        """Models without a price."""
        return sorted({lane.model for lane, price in self.lanes.items() if price is None})

    def worst(self, request: Request) -> Picodollars:
        """The most that an attempt can cost; 0 where the price is not known, which no budget permits."""
        price = self.lanes[request.lane]
        output = request.output_tokens_max
        return 0 if price is None else price.worst(request.input_tokens_max, output or OUTPUT_TOKENS_UNBOUNDED)

    def cost(self, lane: Lane, usage: Usage) -> Picodollars:
        """What an answer cost."""
        price = self.lanes[lane]
        return 0 if price is None else price.cost(usage)

    def for_engine(self) -> Prices:
        """The two questions that the engine asks."""
        return Prices(worst=self.worst, cost=self.cost)


def price_book(loaded: LoadedRecipe, environment: Mapping[str, str], *, has_budget: bool) -> PriceBook:
    """Find every price that the recipe needs. Raises RecipeError for one that is not known under a budget."""
    recipe = loaded.recipe
    overrides = overrides_of(recipe)

    def find(provider: str, model: str) -> Price | None:
        section = recipe.provider if provider == "" else recipe.providers[provider]
        return price_of(model, base_url_of(section, environment, is_default=provider == ""), overrides)

    lanes = {Lane(step.provider, step.model): find(step.provider, step.model) for step in recipe.steps}
    for position, step in enumerate(recipe.steps):
        if has_budget and lanes[Lane(step.provider, step.model)] is None:
            raise unknown_price(loaded, f"steps[{position}].model", step.model)
    tune = recipe.fine_tune
    return PriceBook(lanes=lanes, training=None if tune is None else find(tune.provider, tune.model))


def overrides_of(recipe: Recipe) -> dict[str, Price]:
    """`[pricing.MODEL]` as prices."""
    return {
        model: price_per_million(
            input_usd=section.input_per_million,
            output_usd=section.output_per_million,
            cached_input_usd=section.cached_input_per_million,
            training_usd=section.training_per_million,
            source="the recipe",
        )
        for model, section in recipe.pricing.items()
    }


def unknown_price(loaded: LoadedRecipe, key: str, model: str) -> RecipeError:
    """The one message for a price that is not known under a budget."""
    return RecipeError(
        "its price is not known, and there is a budget",
        mend=f'add [pricing."{model}"] with input_per_million and output_per_million, or take [budget] out',
        file=loaded.path,
        key=key,
        value=model,
    )
