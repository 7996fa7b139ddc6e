"""The pinned requirements: whole, hashed, and silent about where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.house.house_support import ROOT

FILES = sorted((ROOT / "requirements").glob("*.txt"))
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,_-]+\])?==([^\s;\\]+)", re.MULTILINE)

PEERS = sorted((ROOT / "bench" / "clients").glob("*.txt"))

each_file = pytest.mark.parametrize("path", [*FILES, *PEERS], ids=lambda path: path.stem)


def _pins(name: str) -> dict[str, str]:
    found: dict[str, str] = dict(_PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")))
    return found


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_there_is_a_file_for_each_use() -> None:
    """One set to run, one to develop, one to build the package, one for the small model."""
    assert [path.stem for path in FILES] == ["build", "dev", "model", "run"]


@each_file
def test_every_pin_has_a_hash(path: Path) -> None:
    """What is installed is what was tested, byte for byte."""
    blocks = re.split(r"\n(?=[a-z0-9])", path.read_text(encoding="utf-8"))
    assert all("--hash=sha256:" in block for block in blocks)


@each_file
def test_no_index_and_no_address_is_named(path: Path) -> None:
    """Where packages come from is the business of whoever installs: a mirror or a closed network works as it is."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|\s@\s", text)


def test_everything_that_the_package_needs_is_pinned() -> None:
    """Nothing is left to be chosen at install time: --no-deps and these files are enough."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert _names([*project["dependencies"], *extras["local"]]) <= _pins("run").keys()
    assert _names(extras["dev"]) <= _pins("dev").keys()
    assert "hatchling" in _pins("build")


def test_tests_run_on_the_versions_that_the_image_has() -> None:
    """A package that several files pin has one version in all of them."""
    development = _pins("dev")
    for name in ("run", "build"):
        pins = _pins(name)
        assert {package: development.get(package) for package in pins} == pins
