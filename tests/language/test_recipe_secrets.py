"""A key in a recipe is refused and never shown again."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.language.recipes import GOOD, changed, write

from tunemill.errors import RecipeError
from tunemill.recipe import load_recipe

KEYS = (
    "sk-proj-Zk3vQ9xT7bLm2Wc8Rf5Yh1Nd",
    "sk-ant-api03-Zk3vQ9xT7bLm2Wc8Rf5Yh1Nd",
    "gsk_Zk3vQ9xT7bLm2Wc8Rf5Yh1NdGp4J",
    "hf_Zk3vQ9xT7bLm2Wc8Rf5Yh1NdGp4J",
    "AIzaSyZk3vQ9xT7bLm2Wc8Rf5Yh1NdGp4J0aB",
    "AKIAZ3VQ9XT7BLM2WC8R",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
)
PLACES = (
    '[provider]\napi_key = "{}"\n',
    '[provider]\napi_key_env = "{}"\n',
    '[provider]\nbase_url = "https://user:{}@host/v1"\n',
    '[provider]\nbase_url = "https://host/v1?api-key={}"\n',
    '[provider]\nheaders = {{ Authorization = "Bearer {}" }}\n',
    '[providers.judge]\ntoken = "{}"\n',
    '[providers."{}"]\nbase_url = "http://h/v1"\n',
    '[pricing."{}"]\ninput_per_million = 1\n',
    '"{}" = 1\n',
    '[clean]\nreplace = [{{ pattern = "{}", with = "" }}]\n',
    '[fine_tune]\nmodel = "m"\nwandb_project = "{}"\n',
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_refused_wherever_it_stands(key: str, place: str, tmp_path: Path) -> None:
    """No message, and no error chained to it, holds the key or a part of it."""
    text = place.format(key) + GOOD if place.startswith('"') else GOOD + place.format(key)
    with pytest.raises(RecipeError) as raised:
        load_recipe(write(tmp_path, text))
    assert key[-12:] not in str(raised.value)
    assert "not shown here" in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_key_in_a_prompt_file_is_refused(tmp_path: Path) -> None:
    """Template files are looked at too, and named by their key."""
    (tmp_path / "p.txt").write_text(f"Use {KEYS[0]} to call.")
    path = write(tmp_path, changed('prompt = "Plot a {{ genre }} film."', 'prompt_file = "p.txt"'))
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert str(raised.value).startswith(f"{path}: steps[0].prompt_file: a key may not be written into a recipe")
    assert KEYS[0] not in str(raised.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.from_regex(r"[A-Za-z0-9!$%&()*+,./:;<=>?@^_{|}~-]{1,60}", fullmatch=True))
def test_whatever_stands_under_api_key_is_never_echoed(tmp_path: Path, secret: str) -> None:
    """Any value at all under a name that asks for a key is left out of the message."""
    marked = f"begin{secret}end"
    with pytest.raises(RecipeError) as raised:
        load_recipe(write(tmp_path, GOOD + f"[provider]\napi_key = '{marked}'\n"))
    assert marked not in str(raised.value)


@pytest.mark.parametrize(
    "prompt",
    ["The task-force met at desk-12.", "risk-adjusted returns", "Write sk- as an abbreviation", "tokens: {{ genre }}"],
)
def test_ordinary_words_are_no_keys(prompt: str, tmp_path: Path) -> None:
    """Prose that merely resembles a key passes."""
    path = write(tmp_path, changed("Plot a {{ genre }} film.", prompt))
    assert load_recipe(path).recipe.steps[0].prompt == prompt


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MY_KEY_2", "vllm_key", "K"])
def test_names_of_variables_are_no_keys(name: str, tmp_path: Path) -> None:
    """`api_key_env` takes every usual name of a variable."""
    loaded = load_recipe(write(tmp_path, GOOD + f'[provider]\napi_key_env = "{name}"\n'))
    assert loaded.recipe.provider.api_key_env == name
