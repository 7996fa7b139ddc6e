"""`finetune.json`: the record on disk. It appears whole or not at all, is durable when `save` returns, and is checked
when it is read. The caller holds the run folder's lock."""

from pathlib import Path
from typing import Literal

import orjson
import pydantic

from tunemill.errors import RunFolderError
from tunemill.files import write_whole
from tunemill.finetune.record import FineTuneRecord

FILE_NAME = "finetune.json"
_FORMAT: Literal[1] = 1
_ADAPTER = pydantic.TypeAdapter(FineTuneRecord)


def load(folder: Path, run: str) -> FineTuneRecord:
    """The record in a run folder; an empty one where nothing was ever submitted.

    Raises `RunFolderError` where the file is damaged: without it nobody knows whether a job was made.
    """
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return FineTuneRecord(run=run)
    except OSError as error:
        raise RunFolderError(f"cannot be read ({error.strerror})", mend="make it readable", file=path) from error
    return _parsed(path, content)


def save(folder: Path, record: FineTuneRecord) -> None:
    """Replace the record durably. The summary on top is for people; it is not read back."""
    shown = {"format": _FORMAT, "summary": record.summary(), **_ADAPTER.dump_python(record, mode="json")}
    write_whole(folder / FILE_NAME, orjson.dumps(shown, option=orjson.OPT_INDENT_2) + b"\n")


def _parsed(path: Path, content: bytes) -> FineTuneRecord:
    try:
        raw = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _damaged(path, "is not JSON", line=error.lineno) from error
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        raise _damaged(path, f"is not a record of format {_FORMAT}")
    try:
        return _ADAPTER.validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, first["msg"], key=".".join(map(str, first["loc"]))) from error


def _damaged(path: Path, problem: str, *, line: int | None = None, key: str | None = None) -> RunFolderError:
    mend = (
        "restore it from a backup; without one, look at the target for the run's fine-tuning job, move this file away "
        "and run `tunemill submit`, which takes up a job that it finds"
    )
    return RunFolderError(f"damaged: {problem}", mend=mend, file=path, line=line, key=key)
