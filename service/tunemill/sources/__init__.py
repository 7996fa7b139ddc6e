"""Where rows come from: a grid of axes, text files, or a table. Every source is lazy and the same at every start."""

from pathlib import Path
from typing import assert_never

from tunemill.errors import UserError
from tunemill.recipe.sections import FilesSource, GridSource, SourceSection, TableSource
from tunemill.sources.files import Files
from tunemill.sources.grid import Grid
from tunemill.sources.rows import Source, row_of
from tunemill.sources.table import open_table


def open_source(section: SourceSection, folder: Path, *, recipe: Path | None = None) -> Source:
    """The source that `section` of the file `recipe` describes; relative paths are relative to `folder`.

    Looks only at what tells whether it can work at all (axes, the list of files, a table's header and first row).
    `Source.check` reads everything. Raises SourceError, or RecipeError for what is wrong in the recipe itself.
    """
    try:
        match section:
            case GridSource():
                return Grid.of(section)
            case FilesSource():
                return Files.of(section, folder)
            case TableSource():
                return open_table(section, folder)
            case _ as never:
                assert_never(never)
    except UserError as error:
        if error.file is not None or recipe is None:
            raise
        raise error.in_file(recipe) from error


__all__ = ["Source", "open_source", "row_of"]
