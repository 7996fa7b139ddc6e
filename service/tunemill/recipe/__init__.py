"""The recipe: the TOML file that says what to make, read into frozen values with every mistake named."""

from tunemill.recipe.load import LoadedRecipe, check_under_budget, load_recipe
from tunemill.recipe.names import check_templates_against
from tunemill.recipe.rules import problem_of_url
from tunemill.recipe.secrets import has_credentials
from tunemill.recipe.sections import DEFAULT_API_KEY_ENV, DEFAULT_BASE_URL, NotifySection, Recipe
from tunemill.recipe.snapshot import recipe_fingerprint, write_snapshot

__all__ = [
    "DEFAULT_API_KEY_ENV",
    "DEFAULT_BASE_URL",
    "LoadedRecipe",
    "NotifySection",
    "Recipe",
    "check_templates_against",
    "check_under_budget",
    "has_credentials",
    "load_recipe",
    "problem_of_url",
    "recipe_fingerprint",
    "write_snapshot",
]
