"""What a model's tokens cost, from the offline price table of genai-prices, a recipe's own prices, and a small table of
tuning prices.

Promises: whole picodollars, so sums are exact; `worst` is never below `cost` for any usage within its bounds; and a
price that is not known for certain is None, never zero. Where a price depends on what we cannot see (the time of day,
whether the prompt was put into a cache), the dearest is taken.

It does not know recipes: overrides come as `Price` values.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tunemill.model import Picodollars, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

# The day whose prices are taken. Later changes that the table announces count at once where they make a model dearer.
PRICES_DAY = date(2026, 11, 21)

_PICODOLLARS_PER_TOKEN = 10**6  # for one dollar per million tokens
_OPENAI = "openai"
_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Picodollars per token."""

    input: Picodollars
    cached_input: Picodollars
    output: Picodollars


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Rates for all of a request's tokens, where its input has more than so many."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs: picodollars per token, `per_request` for each request, `training` per token and epoch.

    `training` is None where it is not known. `tiers` are in rising order. `source` says where the price is from, and
    from when, in words for a person.
    """

    rates: Rates
    source: str
    training: Picodollars | None = None
    per_request: Picodollars = 0
    tiers: tuple[Tier, ...] = ()

    def cost(self, usage: Usage) -> Picodollars:
        """What this usage costs. Cached tokens are part of the input, and never more than it."""
        rates = self.rates
        for tier in self.tiers:
            if usage.input > tier.above_input_tokens:
                rates = tier.rates
        cached = min(max(usage.cached_input, 0), usage.input)
        tokens = (usage.input - cached) * rates.input + cached * rates.cached_input + usage.output * rates.output
        return self.per_request + tokens

    def worst(self, input_tokens_max: int, output_tokens_max: int) -> Picodollars:
        """The most that a request within these bounds can cost: the dearest tier that it can reach, nothing cached."""
        reachable = [self.rates, *(tier.rates for tier in self.tiers if input_tokens_max > tier.above_input_tokens)]
        return self.per_request + max(
            input_tokens_max * max(rates.input, rates.cached_input) + output_tokens_max * rates.output
            for rates in reachable
        )

    def training_cost(self, tokens: int, epochs: int) -> Picodollars | None:
        """What training on so many tokens costs; None where the price is not known."""
        return None if self.training is None else tokens * epochs * self.training


def price_per_million(
    *,
    input_usd: float,
    output_usd: float,
    cached_input_usd: float | None = None,
    training_usd: float | None = None,
    source: str,
) -> Price:
    """A price from dollars per million tokens. Cached input costs as much as other input where nothing is said."""
    cached = input_usd if cached_input_usd is None else cached_input_usd
    return Price(
        rates=Rates(input=_per_token(input_usd), cached_input=_per_token(cached), output=_per_token(output_usd)),
        training=None if training_usd is None else _per_token(training_usd),
        source=source,
    )


def price_of(model: str, base_url: str, overrides: Mapping[str, Price]) -> Price | None:
    """The price of `model` at the provider with this address; None where it is not known.

    An override counts first, under exactly this name. Otherwise the provider is told by its address. At an address that
    the table does not know (a gateway, a rehearsal on this machine), a model that only OpenAI makes is counted at
    OpenAI's list price, and `source` says so; nothing else is guessed.
    """
    override = overrides.get(model)
    provider, note = _provider_of(base_url)
    training, tuned = _tuning_price(model) if provider is not None and provider.id == _OPENAI else (None, None)
    found = override or _listed(model, provider, note) or tuned
    if found is None or found.training is not None or training is None:
        return found
    return Price(
        rates=found.rates,
        per_request=found.per_request,
        tiers=found.tiers,
        training=training,
        source=f"{found.source}; training: {_TUNING_SOURCE}",
    )


# --- Tuning at OpenAI -------------------------------------------------------------------------------------------------

# Dollars per million tokens: training for one epoch, then input, cached input and output of the tuned model.
_TUNING_SOURCE = "OpenAI's tuning prices as known on 2026-11-21"
_TUNING: Mapping[str, tuple[str, str, str, str]] = {
    "gpt-4.1": ("25", "3", "0.75", "12"),
    "gpt-4.1-mini": ("5", "0.8", "0.2", "3.2"),
    "gpt-4.1-nano": ("1.5", "0.2", "0.05", "0.8"),
    "gpt-4o": ("25", "3.75", "1.875", "15"),
    "gpt-4o-mini": ("3", "0.3", "0.15", "1.2"),
    "gpt-3.5-turbo": ("8", "3", "3", "6"),
    "davinci-002": ("6", "12", "12", "12"),
    "babbage-002": ("0.4", "1.6", "1.6", "1.6"),
}
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")


def _tuning_price(model: str) -> tuple[Picodollars | None, Price | None]:
    """Training for one epoch on this model, and, where it is itself a tuned one, what its tokens cost."""
    base = tuned_from(model)
    row = _TUNING.get(_SNAPSHOT.sub("", base or model).lower())
    if row is None:
        return None, None
    training, input_usd, cached_usd, output_usd = (_per_token(Decimal(dollars)) for dollars in row)
    if base is None:
        return training, None
    rates = Rates(input=input_usd, cached_input=cached_usd, output=output_usd)
    return training, Price(rates=rates, training=training, source=_TUNING_SOURCE)


def tuned_from(model: str) -> str | None:
    """The base of a tuned model's name (`ft:BASE:organisation:suffix:id`); None where it is not one."""
    parts = model.split(":")
    return parts[1] if parts[0] == "ft" and len(parts) > 2 else None


# --- The table of genai-prices ----------------------------------------------------------------------------------------

# What is priced by tokens that a reply's usage reports, and what is priced per use of something that a recipe under a
# budget cannot ask for. A model with any other price (sound, pictures, pages, citations) is not one whose cost we know.
_TOKEN_PRICES = frozenset(
    {"input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok", "output_reasoning_mtok"}
)
_PRICES_PER_USE = frozenset({"requests_kcount", "web_searches_kcount", "storage_searches_kcount"})
_BASE = -1  # below every tier's start
# Models that search or listen by themselves, whatever is asked, and bill it beside the tokens.
_BILLED_BESIDE = re.compile(r"search|deep-research|audio|realtime|transcribe")
# Open weights that OpenAI made and anybody may serve at any price.
_ANYBODYS = re.compile(r"gpt-oss")


def _provider_of(base_url: str) -> tuple["Provider | None", str]:
    """Whose prices count at this address, and what to say about it."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    try:
        return snapshot.find_provider(None, None, base_url), ""
    except LookupError:
        pass
    host = urlsplit(base_url).hostname or ""
    if host.endswith(".openai.com"):
        return None, ""  # regional addresses of OpenAI charge more for some models
    return snapshot.find_provider(None, _OPENAI, None), f", its list price at OpenAI as {host} is not in the table"


def _listed(model: str, provider: "Provider | None", note: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot

    if provider is None or _BILLED_BESIDE.search(model) or (note and _ANYBODYS.search(model)):
        return None
    found = provider.find_model(model, all_providers=get_snapshot().providers)
    # A tuned model that matches its base's entry would be counted at the base's lower price.
    if found is None or (tuned_from(model) and not found.id.startswith("ft:")):
        return None
    prices = tuple(_prices_that_may_hold(found))
    if not prices or not all(_is_in_tokens(price) for price in prices):
        return None
    source = f"genai-prices {version('genai-prices')} ({provider.id}/{found.id}), as of {PRICES_DAY}{note}"
    return _dearest(prices, source)


def _prices_that_may_hold(model: "ModelInfo") -> Iterator["ModelPrice"]:
    """The price in force on PRICES_DAY, those announced for later, and those of any time of day."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(model.prices, ModelPrice):
        yield model.prices
        return
    in_force_found = False
    for conditional in reversed(model.prices):
        constraint = conditional.constraint
        if isinstance(constraint, StartDateConstraint) and constraint.start_date > PRICES_DAY:
            yield conditional.prices
        elif constraint is None or isinstance(constraint, StartDateConstraint):
            if not in_force_found:
                yield conditional.prices
            in_force_found = True
        elif not in_force_found:
            yield conditional.prices


def _is_in_tokens(price: "ModelPrice") -> bool:
    keys = {key for key, value in vars(price).items() if value is not None}
    return {"input_mtok", "output_mtok"} <= keys <= _TOKEN_PRICES | _PRICES_PER_USE


def _dearest(prices: Sequence["ModelPrice"], source: str) -> Price:
    """One price that is at least each of these, tier by tier."""
    starts = sorted({start for price in prices for start in _tier_starts(price)})
    tiers = tuple(Tier(above_input_tokens=start, rates=_rates_above(prices, start)) for start in starts)
    per_request = max((_per_request(price) for price in prices), default=0)
    return Price(rates=_rates_above(prices, _BASE), tiers=tiers, per_request=per_request, source=source)


def _tier_starts(price: "ModelPrice") -> set[int]:
    from genai_prices.types import TieredPrices

    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    return {tier.start for value in tiered for tier in value.tiers}


def _rates_above(prices: Sequence["ModelPrice"], start: int) -> Rates:
    """The dearest rates where the input has more than `start` tokens. Input that a provider writes into its cache is
    counted as input, at the dearer of both."""
    write = ("input_mtok", "cache_write_mtok")
    return Rates(
        input=max(_rate(price, name, start) or 0 for price in prices for name in write),
        cached_input=max(
            _first(_rate(price, "cache_read_mtok", start), _rate(price, "input_mtok", start)) for price in prices
        ),
        output=max(
            _rate(price, name, start) or 0 for price in prices for name in ("output_mtok", "output_reasoning_mtok")
        ),
    )


def _first(one: Picodollars | None, other: Picodollars | None) -> Picodollars:
    return one if one is not None else other or 0


def _rate(price: "ModelPrice", name: str, start: int) -> Picodollars | None:
    value: Decimal | TieredPrices | None = vars(price).get(name)
    if value is None:
        return None
    if isinstance(value, Decimal):
        return _per_token(value)
    return _per_token([value.base, *(tier.price for tier in value.tiers if tier.start <= start)][-1])


def _per_request(price: "ModelPrice") -> Picodollars:
    value = vars(price).get("requests_kcount")
    return 0 if value is None else int(value * 10**9)


def _per_token(dollars_per_million: float | Decimal) -> Picodollars:
    """Rounded up, where a price should ever be finer than a picodollar a token."""
    exact = Decimal(str(dollars_per_million)) * _PICODOLLARS_PER_TOKEN
    return int(exact.to_integral_value(rounding=ROUND_CEILING))
