"""What the tests of the house look at: the project's own files, and the commands that its pages tell people to type."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
RECIPES = sorted(ROOT.glob("examples/*/recipe.toml"))

_FOLDERS = (".ci", "bench/clients", "deploy", "docs", "examples", "requirements", "service", "tests")
_FENCE = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command line that a page or a recipe shows. `words` are without the comment behind it."""

    file: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}: {' '.join(self.words)}"


def project_files() -> Iterator[Path]:
    """Every text file that belongs to the project, whether or not git is there to ask."""
    for place in (ROOT, ROOT / "bench"):  # not what lies below bench: peers are installed there
        yield from (path for path in sorted(place.iterdir()) if path.is_file())
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                yield path


def commands_shown(program: str) -> list[Shown]:
    """Every command line of `program` in the fenced blocks of the pages and in the comments of the example recipes."""
    return [
        Shown(file=file, words=words)
        for file, line in _lines_shown()
        if (words := _words(line)) and words[0] == program and len(words) > 1
    ]


def _lines_shown() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in _FENCE.findall(page.read_text(encoding="utf-8")):
            yield from ((page, line) for line in _joined(block))
    for recipe in RECIPES:
        for line in recipe.read_text(encoding="utf-8").splitlines():
            if line.startswith("#   "):
                yield recipe, re.split(r"\s{2,}", line[4:].strip())[0]


def _joined(block: str) -> list[str]:
    """Lines; one that ends in a backslash joined to the next; prompts, variables and paths of programs taken off."""
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"^(\$ )?([A-Z_]+=\S+ )*(\.venv/bin/)?", "", line) for line in lines]


def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line, comments=True))
    except ValueError:
        return ()
