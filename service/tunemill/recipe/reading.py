"""Reading the recipe's text, and the template files that it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunemill.errors import RecipeError
from tunemill.recipe.faults import key_at
from tunemill.recipe.secrets import holds_a_key, secret_fault
from tunemill.recipe.shape import Document, KeyPath, sections_in, template_keys_at

TEMPLATE_BYTES_MAX = 4 * 2**20


def read_text(path: Path, *, bytes_max: int, what: str, file: Path | None = None, key: str | None = None) -> str:
    """A small text file with plain line ends and without byte order mark.

    Raises RecipeError; `file` and `key` say which recipe named the file, where one did.
    """
    subject = "" if file is None else f"{path}: "

    def fault(problem: str, mend: str, line: int | None = None) -> RecipeError:
        return RecipeError(
            subject + problem, mend=mend, file=file or path, key=key, line=line if file is None else None
        )

    try:
        if path.is_dir():
            raise fault("is a folder", f"name the file of {what} in it")
        if path.exists() and not path.is_file():
            raise fault("is no regular file", f"write {what} to a file")
        if path.stat().st_size > bytes_max:
            raise fault(f"has more than {bytes_max:,} bytes", f"is it {what}? keep data in a source file")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise fault("there is no such file", "check the name and the folder") from error
    except (OSError, ValueError) as error:
        raise fault(f"cannot be read ({getattr(error, 'strerror', None) or error})", "make it readable") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fault(f"byte {error.start + 1} is not UTF-8", "save the file as UTF-8", line) from error
    return text.replace("\r\n", "\n")


def with_template_files(document: Document, path: Path) -> tuple[Document, list[RecipeError]]:
    """The document with the text of each `KEY_file` under KEY, and what is wrong with them."""
    faults: list[RecipeError] = []
    copy = _deep_copy(document)
    for at, section in sections_in(copy):
        for key in sorted(template_keys_at(at, section)):
            if f"{key}_file" in section:
                faults.extend(_put_in_place(section, key, at, path))
    return copy, faults


def _put_in_place(section: dict[str, Any], key: str, at: KeyPath, path: Path) -> Iterator[RecipeError]:
    """Replaces `KEY_file` in `section`. The key stays where it cannot be used, so that nothing is reported twice."""
    name = section.pop(f"{key}_file")
    where = key_at((*at, f"{key}_file"))
    if key in section:
        mend = f"keep {key} or {key}_file"
        yield RecipeError(f"stands beside {key}, which says the same", mend=mend, file=path, key=where, value=name)
        return
    section[key] = ""  # whatever is wrong with the file, the key itself is not missing
    if not isinstance(name, str) or not name:
        mend = 'write a path beside the recipe, such as "prompt.txt"'
        yield RecipeError("is not the name of a file", mend=mend, file=path, key=where, value=name)
        return
    try:
        text = read_text(path.parent / name, bytes_max=TEMPLATE_BYTES_MAX, what="a template", file=path, key=where)
    except RecipeError as error:
        yield error
        return
    if holds_a_key(text):
        yield secret_fault(where, path)
    section[key] = text


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _deep_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep_copy(item) for item in value]
    return value
