"""A source's stamp: it changes with its files, and with nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tunemill.recipe.sections import FilesSource, GridSource, TableSource
from tunemill.sources import open_source


def stamp(folder: Path, pattern: str = "*.txt") -> str:
    return open_source(FilesSource(kind="files", paths=[pattern]), folder).stamp()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"Story {name}.")
    return tmp_path


def _write_with_the_old_time(folder: Path) -> None:
    status = (folder / "a.txt").stat()
    (folder / "a.txt").write_text("Story c.")
    os.utime(folder / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))


def _exchange(folder: Path) -> None:
    shutil.copy2(folder / "a.txt", folder / "copy")
    (folder / "copy").replace(folder / "a.txt")


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda folder: (folder / "a.txt").write_text("Another."),
    "written, with the old size and time": _write_with_the_old_time,
    "touched": lambda folder: os.utime(folder / "a.txt"),
    "exchanged": _exchange,
    "added": lambda folder: (folder / "c.txt").write_text("Story c."),
    "left out": lambda folder: (folder / "b.txt").unlink(),
    "renamed": lambda folder: (folder / "a.txt").rename(folder / "c.txt"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_any_file_is_a_change_of_the_stamp(folder: Path, change: Callable[[Path], object]) -> None:
    """Nothing is read for it."""
    before = stamp(folder)
    assert stamp(folder) == before
    change(folder)
    assert stamp(folder) != before


def test_files_that_are_not_taken_do_not_matter(folder: Path) -> None:
    """Only those that rows come from."""
    before = stamp(folder)
    (folder / "notes.md").write_text("x")
    assert stamp(folder) == before


def test_a_table_is_its_file(tmp_path: Path) -> None:
    """Touching it is enough."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    source = open_source(TableSource(kind="table", path="rows.csv"), tmp_path)
    before = source.stamp()
    assert source.stamp() == before
    os.utime(tmp_path / "rows.csv")
    assert source.stamp() != before


def test_a_file_that_is_gone_is_a_change_too(tmp_path: Path) -> None:
    """Whoever reads the rows will name it."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    source = open_source(TableSource(kind="table", path="rows.csv"), tmp_path)
    before = source.stamp()
    (tmp_path / "rows.csv").unlink()
    assert source.stamp() != before


def test_a_grid_reads_no_file(tmp_path: Path) -> None:
    """It is wholly in the recipe."""
    first = open_source(GridSource(kind="grid", axes={"a": [1]}), tmp_path)
    second = open_source(GridSource(kind="grid", axes={"a": [2]}), tmp_path)
    assert first.stamp() == second.stamp()
