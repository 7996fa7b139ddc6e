"""Prices: unknown is not zero, the worst case is never below the cost, and tuned models have prices of their own."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.model import Usage, picodollars
from tunemill.pricing import Price, Rates, Tier, price_of, price_per_million, tuned_from

OPENAI = "https://api.openai.com/v1"
LOOPBACK = "http://127.0.0.1:8000/v1"

RATES = st.builds(Rates, input=st.integers(0, 10**8), cached_input=st.integers(0, 10**8), output=st.integers(0, 10**8))
TIERS = st.lists(st.builds(Tier, above_input_tokens=st.integers(0, 10**5), rates=RATES), max_size=3).map(
    lambda tiers: tuple(sorted(tiers, key=lambda tier: tier.above_input_tokens))
)
PRICES = st.builds(Price, rates=RATES, tiers=TIERS, per_request=st.integers(0, 10**10), source=st.just("made up"))
TOKENS = st.integers(0, 2 * 10**5)


def known(model: str, base_url: str = OPENAI) -> Price:
    """The price of a model that must have one."""
    price = price_of(model, base_url, {})
    assert price is not None, model
    return price


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("my-model", OPENAI),  # nobody has heard of it
        ("gpt-4o-mini-typo", OPENAI),
        ("my-model", LOOPBACK),
        ("gpt-oss-20b", LOOPBACK),  # open weights: whoever serves them sets the price
        ("gpt-4o-mini", "https://eu.api.openai.com/v1"),  # regional addresses may charge more
        ("gpt-4o-mini-search-preview", OPENAI),  # bills each search
        ("gpt-4o-mini-audio-preview", OPENAI),
        ("text-embedding-3-small", OPENAI),  # has no output price
        ("sonar-deep-research", "https://api.perplexity.ai"),  # bills citations
        ("ft:gpt-4-0613:org::id", OPENAI),  # tuned, and only its base has a price
        ("meta-llama/Llama-3.3-70B-Instruct", "https://api.studio.nebius.com/v1"),
    ],
)
def test_what_is_not_known_for_certain_has_no_price(model: str, base_url: str) -> None:
    """None, never zero and never a guess at a similar name."""
    assert price_of(model, base_url, {}) is None


@given(PRICES, TOKENS, TOKENS, st.data())
def test_the_worst_case_is_never_below_the_cost(
    price: Price, input_max: int, output_max: int, data: st.DataObject
) -> None:
    """For any usage within the bounds, whatever part of it was cached and whichever tier it falls into."""
    usage = Usage(
        input=data.draw(st.integers(0, input_max)),
        output=data.draw(st.integers(0, output_max)),
        cached_input=data.draw(st.integers(0, 2 * input_max)),
    )
    assert 0 <= price.cost(usage) <= price.worst(input_max, output_max)


@given(PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_worst_case_grows_with_its_bounds(price: Price, one: int, more: int, output: int, longer: int) -> None:
    """A larger request is never reserved at less."""
    assert price.worst(one, output) <= price.worst(one + more, output + longer)


@pytest.mark.parametrize(
    "model", ["gpt-4o-mini", "gpt-5.4", "gpt-6-luna", "o4-mini", "ft:gpt-4.1-mini-2025-04-14:o::i"]
)
@given(input_max=st.integers(0, 500_000), share=st.fractions(0, 1), cached=st.fractions(0, 1))
def test_the_worst_case_holds_for_real_models(model: str, input_max: int, share: Decimal, cached: Decimal) -> None:
    """With the tiers and the cache prices that they have."""
    tokens = int(input_max * share)
    usage = Usage(input=tokens, output=1000, cached_input=int(tokens * cached))
    assert known(model).cost(usage) <= known(model).worst(input_max, 1000)


def test_a_published_price_is_exact_in_picodollars() -> None:
    """gpt-4o-mini: 15 cents, 7.5 cents cached and 60 cents a million."""
    price = known("gpt-4o-mini-2024-07-18")
    assert price.rates == Rates(input=150_000, cached_input=75_000, output=600_000)
    assert price.cost(Usage(input=10**6, output=10**6, cached_input=10**6)) == picodollars(0.675)
    assert price.source.startswith("genai-prices ")
    assert "as of 20" in price.source


def test_a_model_is_found_by_its_dated_name_at_its_providers_address() -> None:
    """The same model may cost another price elsewhere."""
    assert known("gpt-4o-2024-05-13").rates.input == 2 * known("gpt-4o").rates.input
    assert known("gpt-4o", "https://mine.openai.azure.com/openai/v1").rates == known("gpt-4o").rates
    assert known("openai/gpt-4o-mini", "https://openrouter.ai/api/v1").rates.output == 600_000


def test_openais_own_models_behind_a_gateway_count_at_list_price() -> None:
    """And the price says where it is from."""
    price = known("gpt-4o-mini", LOOPBACK)
    assert price.rates == known("gpt-4o-mini").rates
    assert "its list price at OpenAI as 127.0.0.1 is not in the table" in price.source


def test_a_long_prompt_reaches_the_dearer_tier() -> None:
    """Crossing the threshold prices all tokens, and the worst case counts it as soon as it can be reached."""
    price = known("gpt-5.4")
    below, above = Usage(input=272_000, output=0), Usage(input=272_001, output=0)
    assert price.cost(above) > 1.9 * price.cost(below)
    assert price.worst(272_000, 0) == price.cost(below)
    assert price.worst(272_001, 0) == price.cost(above)


def test_input_that_may_be_written_to_a_cache_counts_at_the_dearer_price() -> None:
    """gpt-6-luna bills cache writes a quarter above other input, and a reply's usage does not tell them apart."""
    assert known("gpt-6-luna").rates.input == 125_000


def test_a_price_that_depends_on_the_hour_counts_at_the_dearest_hour() -> None:
    """deepseek-chat is cheaper by night."""
    assert known("deepseek-chat", "https://api.deepseek.com").rates == Rates(
        input=270_000, cached_input=70_000, output=1_100_000
    )


def test_a_price_for_each_request_is_part_of_every_cost() -> None:
    """perplexity's sonar."""
    price = known("sonar", "https://api.perplexity.ai")
    assert price.per_request == 12 * 10**9
    assert price.cost(Usage(input=0, output=0)) == price.worst(0, 0) == price.per_request


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("ft:gpt-4o-mini-2024-07-18:org:name:id", Rates(input=300_000, cached_input=300_000, output=1_200_000)),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", Rates(input=800_000, cached_input=200_000, output=3_200_000)),
        ("ft:gpt-4.1-2025-04-14:org::id", Rates(input=3_000_000, cached_input=750_000, output=12_000_000)),
    ],
)
def test_tuned_models_cost_more_than_their_base(model: str, rates: Rates) -> None:
    """By their own prices, not the base's."""
    assert known(model).rates == rates
    base = known(tuned_from(model) or "")
    assert rates.input > base.rates.input
    assert rates.output > base.rates.output


@pytest.mark.parametrize(
    ("model", "dollars_per_million"),
    [
        ("gpt-4o-mini-2024-07-18", 3),
        ("gpt-4.1-mini-2025-04-14", 5),
        ("gpt-4.1-2025-04-14", 25),
        ("gpt-4o-2024-08-06", 25),
    ],
)
def test_training_is_priced_per_token_and_epoch(model: str, dollars_per_million: int) -> None:
    """A million tokens, three epochs."""
    assert known(model).training_cost(10**6, 3) == picodollars(3 * dollars_per_million)
    assert known(model, LOOPBACK).training_cost(10**6, 3) == picodollars(3 * dollars_per_million)


def test_an_unknown_training_price_is_not_zero() -> None:
    """A model whose tokens have a price may have none for training."""
    assert known("o4-mini").training_cost(10**6, 3) is None
    assert known("gpt-4o", "https://mine.openai.azure.com/openai/v1").training is None


def test_an_override_counts_before_the_table() -> None:
    """Under exactly its name; and it may be zero, if somebody says so."""
    free = price_per_million(input_usd=0, output_usd=0, source="the recipe's [pricing]")
    assert price_of("my-model", LOOPBACK, {"my-model": free}) == free
    assert free.worst(10**9, 10**9) == 0
    assert price_of("my-model-2", LOOPBACK, {"my-model": free}) is None


def test_an_override_without_a_training_price_keeps_the_known_one() -> None:
    """Half an override does not make the other half unknown; a whole one counts whole."""
    half = price_per_million(input_usd=1, output_usd=2, source="the recipe's [pricing]")
    whole = price_per_million(input_usd=1, output_usd=2, training_usd=7, source="the recipe's [pricing]")
    model = "gpt-4o-mini-2024-07-18"
    merged = price_of(model, OPENAI, {model: half})
    assert merged is not None
    assert (merged.rates, merged.training) == (half.rates, 3_000_000)
    assert price_of(model, OPENAI, {model: whole}) == whole


@given(st.decimals(0, 1000, places=7))
def test_prices_finer_than_a_picodollar_round_up(dollars: Decimal) -> None:
    """Never to less than was said."""
    price = price_per_million(input_usd=float(dollars), output_usd=0, source="x")
    assert 0 <= price.rates.input - dollars * 10**6 < 1
    assert price.rates.cached_input == price.rates.input


@pytest.mark.parametrize(
    ("name", "base"), [("ft:gpt-4o:org::id", "gpt-4o"), ("gpt-4o", None), ("ft:", None), ("my:ft:model", None)]
)
def test_a_tuned_models_name_has_its_base(name: str, base: str | None) -> None:
    """`ft:BASE:organisation:suffix:id`."""
    assert tuned_from(name) == base
