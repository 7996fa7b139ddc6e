"""The key as the environment holds it."""

import pytest

from tunemill.errors import ArgumentError
from tunemill.recipe.sections import Recipe
from tunemill.settings import access_to


def recipe() -> Recipe:
    return Recipe.model_validate({"name": "r", "source": {"kind": "grid", "axes": {"a": ["x"]}}})


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk-secret\r\nX-Other: 1", "sk-sécret", "sk-\0secret"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    """Such a key would break every request: it is named once, by its variable, before anything is sent."""
    with pytest.raises(ArgumentError, match="OPENAI_API_KEY") as caught:
        access_to(recipe(), "", {"OPENAI_API_KEY": key})
    assert "secret" not in str(caught.value)


def test_space_around_a_key_does_no_harm() -> None:
    """As a file with a line break at its end leaves it."""
    assert access_to(recipe(), "", {"OPENAI_API_KEY": " sk-secret\n"}).api_key == "sk-secret"
