"""`init`: a commented recipe to start from, with the files that it reads."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tunemill.cli.output import talk
from tunemill.errors import ArgumentError

RECIPE = "recipe.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_recipe(name: str, example: str) -> None:
    """Write NAME.toml, and beside it the files that the example reads. Nothing that is there is written over."""
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            "is no name for a run",
            mend="use letters, digits, dots, dashes and underscores, at most 64, a letter or digit first",
            key="NAME",
            value=name,
        )
    starter = files("tunemill") / "starters" / example
    text = (starter / RECIPE).read_text(encoding="utf-8").replace(f'name = "{example}"', f'name = "{name}"', 1)
    text = text.replace(f"examples/{example}/{RECIPE}", f"{name}.toml").replace(f"chat {example}", f"chat {name}")
    path = Path(f"{name}.toml")
    contents = {path: text.encode(), **_companions(starter, Path())}
    for place, content in contents.items():
        _require_free(place, content, is_recipe=place == path)
    for place, content in contents.items():
        _write(place, content)
    beside = "" if len(contents) == 1 else f", and what it reads: {', '.join(_tops(contents, path))}"
    talk(f"wrote {path}{beside}")
    talk(f"what it would cost; sends nothing:      tunemill plan {path}")
    talk(f"try it on this machine, for nothing:    tunemill run {path} --local --limit 5")


def _companions(folder: Traversable, at: Path) -> dict[Path, bytes]:
    """The starter's other files, by the path that they are to have."""
    found: dict[Path, bytes] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found |= _companions(entry, at / entry.name)
        elif entry.name != RECIPE:
            found[at / entry.name] = entry.read_bytes()
    return found


def _require_free(path: Path, content: bytes, *, is_recipe: bool) -> None:
    """A file of an earlier `init` may stay as it is; anything else is not ours."""
    if not path.exists() or (not is_recipe and path.is_file() and path.read_bytes() == content):
        return
    mend = "choose another name" if is_recipe else "start in another folder"
    raise ArgumentError("it is there already", mend=mend, file=path)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise ArgumentError(problem, mend="start in another folder", file=path) from error


def _tops(contents: dict[Path, bytes], recipe: Path) -> list[str]:
    """The files and folders beside the recipe."""
    return list(
        dict.fromkeys(path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in contents if path != recipe)
    )
