"""Text files: which are taken, in which order, and what is said about those that cannot be read."""

import os
from pathlib import Path

import pytest

from tunemill.errors import SourceError
from tunemill.recipe.sections import FilesSource
from tunemill.sources import Source, open_source
from tunemill.sources.files import FILE_BYTES_MAX


def files(folder: Path, *paths: str, sample: int | None = None, seed: int = 0) -> Source:
    """The source of these globs."""
    return open_source(FilesSource(kind="files", paths=list(paths), sample=sample, seed=seed), folder)


def paths_of(source: Source) -> list[object]:
    """The rows' paths, in order."""
    return [row.fields["path"] for row in source.rows()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two stories, one of them deeper, and things that are no stories."""
    (tmp_path / "stories" / "old").mkdir(parents=True)
    (tmp_path / "stories" / "b.txt").write_text("Second.")
    (tmp_path / "stories" / "a.txt").write_text("First.")
    (tmp_path / "stories" / "old" / "c.v1.txt").write_text("Third.")
    (tmp_path / "stories" / ".hidden.txt").write_text("Hidden.")
    return tmp_path


def test_a_glob_that_finds_nothing_is_an_error(folder: Path) -> None:
    """It is named, with the folder that it is relative to."""
    with pytest.raises(SourceError) as raised:
        files(folder, "stories/*.txt", "storys/*.txt")
    expected = (
        f"source.paths = 'storys/*.txt': no file matches; globs are relative to {folder}; ** reaches into folders"
    )
    assert str(raised.value) == expected


def test_a_file_that_is_not_utf_8_is_told_with_byte_and_line(folder: Path) -> None:
    """Opening looks at no file; `check` reads all of them before any money is spent."""
    (folder / "stories" / "c.txt").write_bytes(b"one\ncaf\xe9\n")
    source = files(folder, "stories/*.txt")
    assert source.count() == 3
    with pytest.raises(SourceError) as raised:
        source.check()
    path = folder / "stories" / "c.txt"
    assert str(raised.value) == f"{path}:2: byte 8 (0xe9) is not UTF-8; save the file as UTF-8, or leave it out"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "there is a NUL byte: this is no text file; leave the file out"),
        ("text".encode("utf-16"), "the file is UTF-16, not UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_told_so(data: bytes, said: str, folder: Path) -> None:
    """A picture in the folder is named rather than sent."""
    (folder / "stories" / "c.txt").write_bytes(data)
    with pytest.raises(SourceError) as raised:
        list(files(folder, "stories/*.txt").rows())
    assert str(raised.value).endswith(said)


def test_a_file_that_went_away_is_named(folder: Path) -> None:
    """What happens between listing and reading is told like any other mistake."""
    source = files(folder, "stories/*.txt")
    (folder / "stories" / "b.txt").unlink()
    with pytest.raises(SourceError, match=r"b\.txt: No such file or directory; make the file readable"):
        list(source.rows())


def test_an_enormous_file_is_not_read(folder: Path) -> None:
    """One file is one row, and one row is one prompt."""
    with (folder / "stories" / "c.txt").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(SourceError, match="more than the 67,108,864 that are read; split it"):
        files(folder, "stories/*.txt").check()


def test_files_come_in_order_each_once(folder: Path) -> None:
    """However many globs reach them."""
    source = files(folder, "stories/*.txt", "stories/**/*.txt", "./stories/a.txt")
    assert paths_of(source) == ["stories/a.txt", "stories/b.txt", "stories/old/c.v1.txt"]
    assert [row.fields["name"] for row in source.rows()] == ["a", "b", "c.v1"]
    assert [row.fields["text"] for row in source.rows()] == ["First.", "Second.", "Third."]
    assert source.fields == ("text", "path", "name")


def test_a_folder_means_the_files_in_it(folder: Path) -> None:
    """Not the hidden ones, and not those of its folders."""
    assert paths_of(files(folder, "stories")) == ["stories/a.txt", "stories/b.txt"]


def test_links_are_followed_once_and_loops_end(folder: Path) -> None:
    """A link to a folder above, and a second name of a file, add nothing."""
    (folder / "stories" / "old" / "up").symlink_to(folder / "stories")
    (folder / "stories" / "old" / "again.txt").symlink_to(folder / "stories" / "a.txt")
    (folder / "stories" / "dangling.txt").symlink_to("nowhere")
    os.mkfifo(folder / "stories" / "pipe.txt")
    assert paths_of(files(folder, "stories/**/*.txt")) == ["stories/a.txt", "stories/b.txt", "stories/old/c.v1.txt"]


def test_absolute_globs_and_files_above_have_relative_paths(folder: Path) -> None:
    """The same files make the same rows, however they are named."""
    inside = folder / "recipes"
    inside.mkdir()
    named = [paths_of(files(inside, pattern)) for pattern in (f"{folder}/stories/*.txt", "../stories/*.txt")]
    assert named[0] == named[1] == ["../stories/a.txt", "../stories/b.txt"]


def test_line_ends_and_byte_order_marks_do_not_change_a_row(folder: Path) -> None:
    """A checkout on Windows has the same row ids."""
    (folder / "stories" / "a.txt").write_text("One.\nTwo.\n")
    plain = next(files(folder, "stories/a.txt").rows())
    (folder / "stories" / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n")
    assert next(files(folder, "stories/a.txt").rows()) == plain


def test_a_sample_keeps_the_order_and_reads_only_what_it_drew(folder: Path) -> None:
    """A file that was not drawn may be unreadable."""
    for number in range(20):
        (folder / "stories" / f"n{number:02}.txt").write_text(str(number))
    source = files(folder, "stories/*.txt", sample=5, seed=1)
    drawn = paths_of(source)
    assert len(drawn) == source.count() == 5
    assert drawn == sorted(drawn, key=str)
    for path in {str(path) for path in paths_of(files(folder, "stories/*.txt"))} - {str(path) for path in drawn}:
        (folder / path).write_bytes(b"\xff")
    assert paths_of(files(folder, "stories/*.txt", sample=5, seed=1)) == drawn
    assert len(list(source.some(3, seed=9))) == 3


def test_files_that_are_done_with_are_not_read(folder: Path) -> None:
    """Only the unsettled ones and what was not walked."""
    source = files(folder, "stories/*.txt")
    every = [row.id for row in source.rows()]
    assert [row.id for row in source.rows_but(2, [1])] == [every[1], *every[2:]]
