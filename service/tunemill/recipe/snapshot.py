"""A recipe written down again: whole, with its templates, so that a run folder can be read without anything beside it.

The file that is written loads to the same recipe, except that `folder` of a source with files is now absolute: the
rows, their ids and everything that depends on them stay the same wherever the snapshot lies.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from tunemill.recipe.load import LoadedRecipe
from tunemill.recipe.sections import FilesSource, Recipe, TableSource

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def write_snapshot(loaded: LoadedRecipe) -> str:
    """The recipe as TOML, every default spelled out."""
    recipe = loaded.recipe
    if isinstance(recipe.source, FilesSource | TableSource):
        source = recipe.source.model_copy(update={"folder": str(loaded.folder.absolute())})
        recipe = recipe.model_copy(update={"source": source})
    document = recipe.model_dump(mode="python", by_alias=True, exclude_none=True, exclude_unset=False)
    if recipe.fine_tune is not None and "beta" not in recipe.fine_tune.model_fields_set:
        del document["fine_tune"]["beta"]  # where it is written, it must mean something
    return toml_of(document)


def toml_of(document: Mapping[str, Any]) -> str:
    """A document of texts, numbers, booleans, lists and tables as TOML."""
    return "\n".join(_table(document, ())) + "\n"


def recipe_fingerprint(recipe: Recipe) -> str:
    """32 hex digits that change exactly when the same answers would make another dataset."""
    dump = recipe.model_dump(mode="json", by_alias=True, include={"clean", "train"})
    dump["steps"] = [(step.name, step.samples) for step in recipe.steps]
    dump["seed"] = recipe.source.seed  # templates of [train] may use {{ entropy }}
    return blake2b(orjson.dumps(dump, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _table(table: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[str]:
    """A table's own keys, then its tables, then its lists of tables: the order that TOML needs."""
    for key, value in table.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if _is_table(value):
            if _needs_header(value, at):
                yield f"\n[{_path((*at, key))}]"
            yield from _table(value, (*at, key))
        elif _is_tables(value):
            for item in value:
                yield f"\n[[{_path((*at, key))}]]"
                yield from _table(item, (*at, key))


def _needs_header(table: Mapping[str, Any], at: tuple[str, ...]) -> bool:
    """Not where only tables are below, which bring it about; an empty one may mean something to a model alone."""
    if not table:
        return at[:1] == ("steps",)
    return not all(_is_table(value) for value in table.values())


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _path(at: tuple[str, ...]) -> str:
    return ".".join(_key(part) for part in at)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _long_text(value) if "\n" in value else _text(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    assert isinstance(value, list), f"no TOML for {type(value).__name__}"
    return "[" + ", ".join(_text(item) if isinstance(item, str) else _value(item) for item in value) + "]"


def _text(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _long_text(text: str) -> str:
    """Line by line between triple quotes, as a person would write it."""
    body = "".join(character if character == "\n" else _escaped(character) for character in text)
    return '"""\n' + body.replace('\\"', '"').replace('""', '"\\"') + '"""'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\u{ord(character):04x}" if ord(character) < 32 or ord(character) == 127 else character
