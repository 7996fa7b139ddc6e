"""A recipe that is written down loads to the same recipe, and its fingerprint changes when the dataset would."""

import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from tests.language.recipes import GOOD, changed, write
from tests.language.test_load_recipe import EVERYTHING

from tunemill.recipe import LoadedRecipe, Recipe, load_recipe, recipe_fingerprint, write_snapshot

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("text", [GOOD, EVERYTHING])
def test_a_snapshot_loads_to_the_same_recipe(text: str, tmp_path: Path) -> None:
    """load(snapshot) == recipe, and the snapshot of a snapshot is itself."""
    loaded = load_recipe(write(tmp_path, text))
    snapshot = write_snapshot(loaded)
    again = load_recipe(write(tmp_path, snapshot, name="snapshot.toml"))
    assert again.recipe == loaded.recipe
    assert write_snapshot(again) == snapshot


@settings(deadline=None)
@given(prompt=TEXTS, params=st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_text_and_any_parameters_survive(prompt: str, params: dict[str, JsonValue]) -> None:
    """Quotes, backslashes, control characters, emoji and nested values come back as they were."""
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "source": {"kind": "grid", "axes": {prompt: [1]}},
            "steps": [{"name": "s", "model": "m", "prompt": prompt, "params": params}],
        }
    )
    loaded = LoadedRecipe(recipe=recipe, path=Path("/r.toml"), folder=Path("/"), text="")
    assert Recipe.model_validate(tomllib.loads(write_snapshot(loaded))) == recipe


def test_a_snapshot_holds_the_templates_of_other_files(tmp_path: Path) -> None:
    """The run folder can be read without the files beside the recipe."""
    (tmp_path / "plot.txt").write_text("Plot a {{ genre }} film.\n")
    path = write(tmp_path, changed('prompt = "Plot a {{ genre }} film."', 'prompt_file = "plot.txt"'))
    loaded = load_recipe(path)
    (tmp_path / "plot.txt").unlink()
    again = load_recipe(write(tmp_path, write_snapshot(loaded), name="snapshot.toml"))
    assert again.recipe == loaded.recipe


def test_a_snapshot_finds_its_source_from_anywhere(tmp_path: Path) -> None:
    """In the run folder, relative paths still mean what they meant beside the recipe, and rows keep their ids."""
    text = changed('kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]', 'kind = "files"\npaths = ["t/*.txt"]')
    loaded = load_recipe(write(tmp_path, text.replace("{{ genre }}", "{{ text }}")))
    (tmp_path / "runs").mkdir()
    again = load_recipe(write(tmp_path / "runs", write_snapshot(loaded)))
    assert again.folder == loaded.folder
    assert again.recipe.steps == loaded.recipe.steps
    assert write_snapshot(again) == write_snapshot(loaded)


def test_the_fingerprint_follows_what_the_dataset_depends_on(tmp_path: Path) -> None:
    """Cleaning, training format and the steps' names and samples count; limits, budget and prices do not."""

    def fingerprint(text: str) -> str:
        return recipe_fingerprint(load_recipe(write(tmp_path, text)).recipe)

    same = {
        fingerprint(text)
        for text in (GOOD, changed("usd = 1.0", "usd = 2.0"), GOOD + "[limits]\nconcurrency = 3\n", GOOD + "[clean]\n")
    }
    others = {
        fingerprint(text)
        for text in (
            changed('user = "{{ genre }}"', 'user = "A {{ genre }}"'),
            GOOD + "[clean]\nmin_chars = 7\n",
            changed('name = "outline"', 'name = "outline"\nsamples = 2'),
        )
    }
    assert len(same) == 1
    assert len(others) == 3
    assert not same & others
    assert all(set(fingerprint) <= set(string.hexdigits) and len(fingerprint) == 32 for fingerprint in same | others)
