"""The pages: what they tell people to type exists, and what they point to is there."""

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from tests.cli.cli_support import forked
from tests.house.house_support import PAGES, ROOT, Shown, commands_shown, project_files

# Put together here, so that this file is not the one that names them.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("conda", "io"), ("npmjs", "org"),
        ("crates", "io"), ("golang", "org"),
    )
)  # fmt: skip
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
_FLAG = re.compile(r"^--[a-z-]+")


@cache
def _help(command: str) -> str:
    shown = forked(command, "--help", cwd=ROOT, env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.code == 0, shown.err
    return shown.out


@cache
def _make_targets() -> frozenset[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("shown", commands_shown("tunemill"), ids=str)
def test_a_command_that_is_shown_exists_with_its_flags(shown: Shown) -> None:
    """Every `tunemill ...` in a page or a recipe is a command, and its --help names every flag shown with it."""
    command = shown.words[1]
    page = _help(command)
    flags = [match[0] for word in shown.words[2:] if (match := _FLAG.match(word))]
    assert [flag for flag in flags if flag not in page] == []


@pytest.mark.parametrize("shown", commands_shown("tunemill"), ids=str)
def test_a_recipe_that_is_shown_is_there(shown: Shown) -> None:
    """Commands are written to be typed in the checkout, so the recipes that they name must be there."""
    recipes = [word for word in shown.words if word.startswith("examples/")]
    assert [recipe for recipe in recipes if not (ROOT / recipe).is_file()] == []


@pytest.mark.parametrize("shown", commands_shown("make"), ids=str)
def test_a_make_target_that_is_shown_exists(shown: Shown) -> None:
    """Every `make ...` in a page is a target."""
    assert {word for word in shown.words[1:] if "=" not in word} <= _make_targets()


def test_the_pages_show_commands_at_all() -> None:
    """Guards the tests above: with nothing found they would all pass."""
    commands = {shown.words[1] for shown in commands_shown("tunemill")}
    assert {"plan", "run", "status", "show", "build", "check", "submit", "watch", "chat", "serve"} <= commands
    assert {"demo", "test"} <= {word for shown in commands_shown("make") for word in shown.words[1:]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    """A link in a page is to an address on the web or to a file of the project."""
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_no_file_names_a_package_registry() -> None:
    """Whoever installs decides where packages come from; no file of the project does."""
    named = [path for path in project_files() if any(host.encode() in path.read_bytes() for host in REGISTRY_HOSTS)]
    assert named == []


def test_the_changelog_tells_of_this_version() -> None:
    """The version in pyproject.toml has a section, so that nothing is released untold."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_image_copies_what_is_there_and_not_kept_from_it() -> None:
    """Each path that the Dockerfile copies from the checkout exists and is let through by .dockerignore."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sources = {source.rstrip("/") for line in copies for source in line.split()}
    let_through = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert sources == set(let_through)
    assert all((ROOT / source).exists() for source in sources)


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Test folders are no packages, so that two files of one name would be one module to pytest."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
