"""How the build learns where this machine's packages come from."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.manifests import DEPLOY

MODULE: dict[str, Any] = runpy.run_path(str(DEPLOY / "pip_from_here.py"))

LISTED = """\
:env:.disable-pip-version-check='1'
:env:.find-links='/wheels/new'
global.cert='/certs/all.crt'
global.extra-index-url='\\nfile:///mirror/simple\\nhttps://packages.example.com/simple'
global.find-links='/wheels/old'
install.user='no'
"""


def test_the_environment_wins_over_files() -> None:
    """`pip config list` shows both, and pip goes by the environment."""
    listed = "".join(sorted(LISTED.splitlines(keepends=True), reverse=True))
    for text in (LISTED, listed):
        assert MODULE["pip_configuration"](text)["find-links"] == "/wheels/new"


def test_several_addresses_go_over_several_lines() -> None:
    """As pip reads them in a file."""
    told = MODULE["pip_configuration"](LISTED)
    assert MODULE["pip_conf"]({"extra-index-url": told["extra-index-url"]}) == (
        "[global]\nextra-index-url = file:///mirror/simple\n    https://packages.example.com/simple\n"
    )


def test_an_index_on_disk_is_mounted_with_its_files(tmp_path: Path) -> None:
    """They lie beside `simple`; addresses on the web, and folders that are not there, are no folders."""
    (tmp_path / "mirror" / "simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    values = {
        "extra-index-url": f"file://{tmp_path}/mirror/simple https://packages.example.com/simple file:///not/there",
        "find-links": f"{tmp_path}/wheels",
    }
    assert sorted(MODULE["local_folders"](values)) == [tmp_path / "mirror", tmp_path / "wheels"]


def test_a_machine_that_is_told_nothing_passes_nothing_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build is then as on any other machine."""
    for name in (*MODULE["_CERTIFICATES"], "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    MODULE["main"]("buildah", tmp_path)
    assert capsys.readouterr().out == ""
