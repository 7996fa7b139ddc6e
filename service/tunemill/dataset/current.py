"""Whether a dataset that is in the run folder is the one that a build would make again. It builds nothing."""

from collections.abc import Mapping
from pathlib import Path

import orjson

from tunemill.dataset.build import REPORT_FILE, VALIDATION_FILE
from tunemill.files import sha256_of
from tunemill.model import Json


def read_report(folder: Path) -> Mapping[str, Json]:
    """The run folder's `report.json`; empty where there is none, or none that can be read: both mean "build"."""
    try:
        raw = orjson.loads((folder / REPORT_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return raw if isinstance(raw, dict) else {}


def is_current(folder: Path, fingerprint: str) -> bool:
    """Whether the last build had this fingerprint, and its files are still as it recorded them (sizes, then hashes)."""
    report = read_report(folder)
    files = report.get("files")
    if report.get("fingerprint") != fingerprint or not isinstance(files, Mapping) or not files:
        return False
    if VALIDATION_FILE not in files and (folder / VALIDATION_FILE).exists():
        return False
    return all(_is_as_recorded(folder / name, record) for name, record in files.items())


def _is_as_recorded(path: Path, record: Json) -> bool:
    if not isinstance(record, Mapping):
        return False
    try:
        return path.stat().st_size == record.get("bytes") and sha256_of(path) == record.get("sha256")
    except OSError:
        return False
