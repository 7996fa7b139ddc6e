"""A run's folder: where everything is, who may write to it, and whether it is fit for a run.

Looking at a folder changes nothing in it. It is made only by `RunFolder.make`, when all else has been found right.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tunemill.errors import ArgumentError, RunFolderError
from tunemill.files import Lock, is_locked
from tunemill.finetune.store import load
from tunemill.journal.codec import DamagedLine, decode
from tunemill.journal.lines import Opened
from tunemill.journal.segments import scan, segments_of

RUNS = "runs"
_ANOTHER = "choose another with --run-dir"
# A volume that is freshly mounted has lost+found; a process that died early leaves the lock and the recipe.
_HARMLESS = {"lock", "control.sock", "lost+found", "recipe.toml", ".index"}


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        """What RUN may be called on the command line: the folder's name where it is under `runs/`, else its path."""
        return self.path.name if self.path.parent == Path(RUNS) else str(self.path)

    @property
    def recipe(self) -> Path:
        """The recipe as last run, with its templates."""
        return self.path / "recipe.toml"

    @property
    def journal(self) -> Path:
        """The folder of the journal's segments."""
        return self.path / "journal"

    @property
    def failed(self) -> Path:
        """Each request that failed for good."""
        return self.path / "failed.jsonl"

    @property
    def rejects(self) -> Path:
        """Each row that was left out of the dataset."""
        return self.path / "rejects.jsonl"

    @property
    def train(self) -> Path:
        """The training file."""
        return self.path / "train.jsonl"

    @property
    def validation(self) -> Path:
        """The validation file."""
        return self.path / "validation.jsonl"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.path / "report.html"

    @property
    def control(self) -> Path:
        """The socket on which the process that works on it answers."""
        return self.path / "control.sock"

    @property
    def is_in_use(self) -> bool:
        """Whether a living process writes to it."""
        return is_locked(self.path / "lock")

    @property
    def holder(self) -> str:
        """The process that writes to it, or did last, as far as the lock says it; "" where it does not."""
        try:
            return (self.path / "lock").read_text(encoding="ascii", errors="replace")[:32].strip()
        except OSError:
            return ""

    def lock(self) -> Lock:
        """Become the one writer. Raises RunFolderBusy."""
        return Lock(self.path / "lock")

    def make(self) -> None:
        """Make it where it is missing, and see that it can be written. Raises ArgumentError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except PermissionError as error:
            raise _not_ours(self.path) from error
        except OSError as error:
            problem = f"the run folder cannot be made or written ({error.strerror})"
            raise ArgumentError(problem, mend=_ANOTHER, file=self.path) from error


def fit_for(path: Path, *, run: str, simulated: bool) -> RunFolder:
    """The folder for a run that is about to start; it may not exist yet.

    Raises ArgumentError for a folder that holds something else, RunFolderError for one that is damaged.
    """
    folder = new_or_existing(path)
    _require_same_run(folder, run, simulated=simulated)
    load(folder.path, run)
    return folder


def new_or_existing(path: Path) -> RunFolder:
    """A run folder, or a place for one. Raises ArgumentError."""
    try:
        for place in (path, *path.parents):
            if place.exists() and not place.is_dir():
                raise ArgumentError("is not a folder", mend=_ANOTHER, file=place)
        if path.is_dir() and not (path / "journal").is_dir() and (foreign := _foreign(path)):
            raise ArgumentError(f"the folder holds other things ({foreign}) and no run", mend=_ANOTHER, file=path)
    except OSError as error:
        raise ArgumentError(f"the folder cannot be read ({error.strerror})", mend=_ANOTHER, file=path) from error
    return RunFolder(path)


def existing(name: str) -> RunFolder:
    """The folder that RUN names: a path, or a name under `runs/`. Raises RunFolderError."""
    for path in (Path(name), Path(RUNS) / name):
        if (path / "journal").is_dir():
            return RunFolder(path)
    known = sorted(entry.parent.name for entry in Path(RUNS).glob("*/journal")) if Path(RUNS).is_dir() else []
    mend = f"runs here: {', '.join(known[:10])}" if known else "there is no run here yet: start one with `tunemill run`"
    raise RunFolderError("not a run folder, nor the name of one under runs/", mend=mend, key="RUN", value=name)


def _not_ours(path: Path) -> ArgumentError:
    """Whose folder it is that we may not write to: most often a volume that was mounted for another user."""
    place = next(place for place in (path.absolute(), *path.absolute().parents) if os.access(place, os.F_OK))
    found, us = place.stat(), f"{os.geteuid()}:{os.getegid()}"
    problem = (
        f"user {us} may not write there: {place} is {found.st_uid}:{found.st_gid}'s, mode {found.st_mode & 0o7777:o}"
    )
    return ArgumentError(problem, mend=f"`chown -R {us}` it, or {_ANOTHER}", file=path)


def _require_same_run(folder: RunFolder, run: str, *, simulated: bool) -> None:
    before = _first_line(folder.journal)
    if before is None:
        return
    if before.run != run:
        raise ArgumentError(
            f"the folder holds the run of another recipe ({before.run!r})",
            mend=f"{_ANOTHER}, or another name in the recipe",
            file=folder.path,
        )
    if before.simulated != simulated:
        what, other = ("simulated", "real") if before.simulated else ("real", "simulated")
        raise ArgumentError(
            f"the folder holds a {what} run, and {what} and {other} answers and dollars are not mixed",
            mend=f"{_ANOTHER} for the {other} one",
            file=folder.path,
        )


def _first_line(journal: Path) -> Opened | None:
    """How the journal begins. Damage is left to the replay, which says where it is."""
    for _, text in scan(journal, segments_of(journal)):
        try:
            line = decode(text)
        except DamagedLine:
            return None
        return line if isinstance(line, Opened) else None
    return None


def _foreign(path: Path) -> str:
    """The name of something in the folder that no run put there; "" where there is nothing of the kind."""
    return next((entry.name for entry in sorted(path.iterdir()) if entry.name not in _HARMLESS), "")
