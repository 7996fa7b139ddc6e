"""Prices for a recipe: the table's, or the recipe's own; and what they mean for requests."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunemill.engine import Prices
from tunemill.model import Lane, Picodollars, Request, Usage
from tunemill.plan import base_urls_of, price_in, prices_of_steps
from tunemill.pricing import Price
from tunemill.recipe import LoadedRecipe, Recipe
from tunemill.settings import default_base_url

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
    urls = base_urls_of(recipe, default=default_base_url(environment))
    return PriceBook(
        lanes=prices_of_steps(recipe, urls, file=loaded.path, under_budget=has_budget),
        training=training_price(recipe, environment),
    )


def training_price(recipe: Recipe, environment: Mapping[str, str]) -> Price | None:
    """The price of the model that the recipe tunes; None where it tunes none, or where it is not known."""
    tune = recipe.fine_tune
    urls = base_urls_of(recipe, default=default_base_url(environment))
    return None if tune is None else price_in(recipe, Lane(tune.provider, tune.model), urls)
