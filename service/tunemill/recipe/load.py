"""From a file to a `Recipe`: read, parse, refuse keys, put template files in place, check values, check rules.

Either a whole checked recipe comes back, or one RecipeError that names everything that was found wrong, a line each.
Later checks run only on what passed the earlier ones, so that no fault is told twice in other words.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from tunemill.errors import RecipeError
from tunemill.recipe.faults import RecipeFaults, faults_of_validation
from tunemill.recipe.money import faults_in_money
from tunemill.recipe.names import faults_in_templates
from tunemill.recipe.reading import read_text, with_template_files
from tunemill.recipe.rules import faults_in_rules
from tunemill.recipe.secrets import faults_in_secrets
from tunemill.recipe.sections import FilesSource, Recipe, TableSource
from tunemill.recipe.shape import Document, faults_in_keys, faults_in_values

RECIPE_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecipe:
    """A recipe with where it came from.

    `folder` is what the source's relative paths are relative to; `text` is the file's text with plain line ends.
    """

    recipe: Recipe
    path: Path
    folder: Path
    text: str


def load_recipe(path: Path) -> LoadedRecipe:
    """Read and check the recipe at `path`. Raises RecipeError."""
    path = path.absolute()
    text = read_text(path, bytes_max=RECIPE_BYTES_MAX, what="a recipe")
    document = _parse(text, path)
    _raise_any(faults_in_secrets(document, path))
    document, faults = with_template_files(document, path)
    _raise_any([*faults, *faults_in_keys(document, path)])
    recipe = _validated(document, path)
    _raise_any([*faults_in_rules(recipe, path), *faults_in_templates(recipe, path)])
    return LoadedRecipe(recipe=recipe, path=path, folder=_source_folder(recipe, path), text=text)


def check_under_budget(loaded: LoadedRecipe) -> None:
    """What a recipe must keep to under a budget that it does not name itself. Raises RecipeError."""
    _raise_any(faults_in_money(loaded.recipe, partial(RecipeError, file=loaded.path)))


def _parse(text: str, path: Path) -> Document:
    if not text.strip():
        raise RecipeError("the file is empty", mend="start from `tunemill init NAME`", file=path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The line is only in the message before Python 3.14. It is shown apart, where an editor looks for it.
        problem, _, place = str(error).partition(" (at ")
        line = re.match(r"line (\d+), column (\d+)", place)
        raise RecipeError(
            f"not TOML: {problem.lower()}" + (f" at column {line[2]}" if line else " at the end of the file"),
            mend='texts stand in quotes, a key stands once in its table, between "double" quotes \\ is written \\\\',
            file=path,
            line=int(line[1]) if line else None,
        ) from error
    except RecursionError as error:
        raise RecipeError("it is nested too deeply", mend="write it flatter", file=path) from error


def _validated(document: Document, path: Path) -> Recipe:
    _raise_any(faults_in_values(document, path))
    if isinstance(document.get("train"), dict):
        document = document | {"train": {"format": "chat"} | document["train"]}  # most people tune chat models
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeFaults.of(faults_of_validation(error, document, path)) from error


def _raise_any(faults: Iterable[RecipeError]) -> None:
    found = list(faults)
    if found:
        raise RecipeFaults.of(found)


def _source_folder(recipe: Recipe, path: Path) -> Path:
    source = recipe.source
    if isinstance(source, FilesSource | TableSource) and source.folder is not None:
        return path.parent / source.folder
    return path.parent
