"""What an answer costs, worked out independently of tunemill's own price code. Whole picodollars (1e-12 USD)."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from genai_prices import Usage, calc_price

PICODOLLARS_PER_USD = 10**12
_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Picodollars for one token in and one token out."""

    input: int
    output: int

    def of(self, input_tokens: int, output_tokens: int) -> int:
        """The answer's price."""
        return self.input * input_tokens + self.output * output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices by model name. A given price holds for every model; None asks the public price list."""

    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None

    def price(self, model: str) -> Price | None:
        """The model's price; None where neither we nor the list know it, which the books count apart."""
        listed = listed_price(model)
        if listed is None and (self.input_usd_per_million is None or self.output_usd_per_million is None):
            return None
        listed = listed or Price(input=0, output=0)
        return Price(
            input=_given(self.input_usd_per_million, listed.input),
            output=_given(self.output_usd_per_million, listed.output),
        )


@lru_cache(maxsize=1024)
def listed_price(model: str) -> Price | None:
    """The public list's price of an OpenAI model, for prompts below the first price step; None where it has none."""
    try:
        one_in = calc_price(Usage(input_tokens=1, output_tokens=0), model, provider_id="openai")
        one_out = calc_price(Usage(input_tokens=0, output_tokens=1), model, provider_id="openai")
    except LookupError:
        return None
    return Price(input=_picodollars(one_in.total_price), output=_picodollars(one_out.total_price))


def _picodollars(usd: Decimal) -> int:
    return int((usd * PICODOLLARS_PER_USD).to_integral_value())


def _given(usd_per_million: float | None, listed: int) -> int:
    # Through the decimal text, because 0.15 as a binary fraction is not quite 0.15.
    return listed if usd_per_million is None else _picodollars(Decimal(str(usd_per_million)) / _TOKENS)
