"""A run's folder: where everything is, and who may write to it."""

from dataclasses import dataclass
from pathlib import Path

from tunemill.errors import ArgumentError, RunFolderError
from tunemill.files import Lock, is_locked, translating_write_errors

RUNS = "runs"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        """What the run is called on screen."""
        return self.path.name

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
    def is_in_use(self) -> bool:
        """Whether a living process writes to it."""
        return is_locked(self.path / "lock")

    def lock(self) -> Lock:
        """Become the one writer. Raises RunFolderBusy."""
        return Lock(self.path / "lock")


def new_or_existing(path: Path) -> RunFolder:
    """The folder for a run that is about to start; made where it is missing. Raises ArgumentError."""
    if path.exists() and not path.is_dir():
        raise ArgumentError("not a folder", mend="choose another folder", key="--run-dir", value=str(path))
    if path.is_dir() and not (path / "journal").exists() and any(_foreign(path)):
        raise ArgumentError(
            "the folder holds other files and no run",
            mend="choose an empty or a new one",
            key="--run-dir",
            value=str(path),
        )
    try:
        with translating_write_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except Exception as error:
        raise ArgumentError(
            "the folder cannot be made or written", mend="choose another one", key="--run-dir", value=str(path)
        ) from error
    return RunFolder(path)


def existing(name: str) -> RunFolder:
    """The folder that RUN names: a path, or a name under `runs/`. Raises RunFolderError."""
    for path in (Path(name), Path(RUNS) / name):
        if (path / "journal").is_dir():
            return RunFolder(path)
    known = sorted(entry.parent.name for entry in Path(RUNS).glob("*/journal")) if Path(RUNS).is_dir() else []
    mend = f"runs here: {', '.join(known[:10])}" if known else "there is no run here yet: start one with `tunemill run`"
    raise RunFolderError("not a run folder, nor the name of one under runs/", mend=mend, key="RUN", value=name)


def _foreign(path: Path) -> list[Path]:
    # A volume that is freshly mounted has lost+found; a process that died early leaves the lock and the recipe.
    return [entry for entry in path.iterdir() if entry.name not in {"lock", "lost+found", "recipe.toml", ".index"}]
