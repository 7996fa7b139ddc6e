"""`init`: a commented recipe to start from."""

import re
from importlib.resources import files
from pathlib import Path

from tunemill.cli.output import one_of, talk
from tunemill.errors import ArgumentError

EXAMPLES = ("movie-plots", "voice", "writing-coach", "synopses")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_recipe(name: str, example: str) -> None:
    """Write NAME.toml, which must not be there yet."""
    one_of("--example", example, EXAMPLES)
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            "not a name for a run", mend="use letters, digits, dots, dashes and underscores", key="NAME", value=name
        )
    path = Path(f"{name}.toml")
    text = (files("tunemill") / "starters" / f"{example}.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(text.replace(f'name = "{example}"', f'name = "{name}"', 1))
    except FileExistsError:
        raise ArgumentError("it is there already", mend="choose another name", file=path) from None
    except OSError as error:
        raise ArgumentError(f"cannot be written ({error.strerror})", mend="choose another folder", file=path) from error
    talk(f"wrote {path}; next: tunemill plan {path}, then tunemill run {path} --limit 1")
