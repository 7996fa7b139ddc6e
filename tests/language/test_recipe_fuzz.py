"""Whatever a recipe holds, loading it ends in a recipe or in one message: never in a traceback."""

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.language.recipes import write
from tests.language.test_load_recipe import EVERYTHING

from tunemill.errors import UserError
from tunemill.plan import make_plan
from tunemill.recipe import LoadedRecipe, load_recipe, write_snapshot
from tunemill.recipe.snapshot import toml_of

DOCUMENT = tomllib.loads(EVERYTHING)
PATHS_PER_CASE = 3
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["", " ", "{{", "{{ x }}", "auto", "(", "sk-", "\\", "0", "chat", "grid", "files", "table"]),
    st.sampled_from([0, -1, 1, 2**63, 1e308, 0.0, True, [], {}, [[]], [{}], {"": ""}, {"a": {"b": []}}]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


def put(value: Any, at: tuple[str | int, ...], odd: Any) -> Any:
    """The document with another value at that place."""
    if not at:
        return odd
    if isinstance(value, dict):
        return {key: put(item, at[1:], odd) if key == at[0] else item for key, item in value.items()}
    if isinstance(value, list):
        return [put(item, at[1:], odd) if position == at[0] else item for position, item in enumerate(value)]
    return value


def planned(path: Path) -> LoadedRecipe | str:
    """The recipe, once it could also be planned; or the message with which it is refused."""
    try:
        loaded = load_recipe(path)
        make_plan(loaded)
    except UserError as error:
        return str(error)
    return loaded


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120)
@given(
    st.lists(st.tuples(st.sampled_from([place for place in places(DOCUMENT) if place]), ODD), max_size=PATHS_PER_CASE)
)
def test_odd_values_anywhere_are_a_message(tmp_path: Path, changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
    """The value is refused with a message that names the file, or the recipe loads, is planned and is written down."""
    document = DOCUMENT
    for place, odd in changes:
        document = put(document, place, odd)
    path = write(tmp_path, toml_of(document))
    outcome = planned(path)
    if isinstance(outcome, str):
        assert all(line.startswith(f"{path}:") for line in outcome.splitlines())
        return
    assert load_recipe(write(tmp_path, write_snapshot(outcome), name="again.toml")).recipe == outcome.recipe


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_odd_bytes_are_a_message(tmp_path: Path, data: bytes) -> None:
    """A file that is anything at all."""
    path = tmp_path / "recipe.toml"
    path.write_bytes(data)
    outcome = planned(path)
    assert not isinstance(outcome, str) or outcome.startswith(str(path))
