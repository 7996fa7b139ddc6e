"""All runs of a folder, each on one line: what state it is in, how far it is, what it cost.

Nothing is replayed. A run under way is asked; of the others the journal's last snapshot is taken, with what came after
it where that is little, and where it is much, that is said. A folder that cannot be read is a line of its own.
"""

import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from errno import ENOTDIR
from pathlib import Path

from tunemill.app.control import NoAnswer, live_status
from tunemill.app.folder import RunFolder
from tunemill.app.settled import answers_since, settled_by
from tunemill.errors import RunFolderError, TunemillError
from tunemill.finetune.store import load
from tunemill.journal import Glance, glance
from tunemill.model import Json, Picodollars, RunState, picodollars, usd
from tunemill.statistics import RunStatistics

ANSWER_TIMEOUT_S = 1.0
ASKED_AT_ONCE = 32
TAIL_BYTES_MAX = 16 * 2**20  # of one journal, behind its snapshot: a tenth of a second
TAILS_BYTES_MAX = 256 * 2**20  # of all of them
RECIPE_BYTES_MAX = 2 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run. `active_at` is when something was last written down, seconds since the epoch; `as_of` is set where the
    figures are older than that; `note` is what else a person has to know."""

    folder: str
    run: str
    state: RunState
    simulated: bool
    planned: int
    completed: int
    failed: int
    settled: Picodollars
    uncertain: Picodollars
    budget: Picodollars | None
    active_at: float
    as_of: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Json]:
        """For programs."""
        return {
            "folder": self.folder,
            "run": self.run,
            "state": self.state.value,
            "simulated": self.simulated,
            "requests": {"planned": self.planned, "completed": self.completed, "failed": self.failed},
            "usd": {
                "settled": usd(self.settled),
                "uncertain": usd(self.uncertain),
                "budget": None if self.budget is None else usd(self.budget),
            },
            "active_at": self.active_at,
            "as_of": self.as_of,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableRun:
    """A folder of which nothing can be told."""

    folder: str
    problem: str

    def to_json(self) -> dict[str, Json]:
        """For programs."""
        return {"folder": self.folder, "state": "unreadable", "note": self.problem}


def run_folders(folder: Path) -> Sequence[RunFolder]:
    """The runs in a folder, or the folder itself where it is one. Raises RunFolderError."""
    try:
        if _is_run(folder):
            return [RunFolder(folder)]
        return [RunFolder(entry) for entry in sorted(folder.iterdir()) if _is_run(entry)]
    except OSError as error:
        mend = "name a folder that holds runs"
        raise RunFolderError(f"cannot be read ({error.strerror})", mend=mend, file=folder) from error


def overview(folders: Sequence[RunFolder]) -> list[RunLine | UnreadableRun]:
    """A line for each run, the one that was active last first."""
    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:
        answers = list(pool.map(_ask, folders))
    lines = list(_lines(folders, answers))
    return sorted(lines, key=lambda line: -line.active_at if isinstance(line, RunLine) else 0.0)


def _is_run(path: Path) -> bool:
    return (path / "journal").exists() or ((path / "lock").exists() and (path / "recipe.toml").exists())


def _ask(folder: RunFolder) -> RunStatistics | NoAnswer:
    try:
        return live_status(folder, timeout_s=ANSWER_TIMEOUT_S)
    except OSError:  # the lock is somebody else's to read
        return NoAnswer.BUSY


def _lines(
    folders: Sequence[RunFolder], answers: Sequence[RunStatistics | NoAnswer]
) -> Iterator[RunLine | UnreadableRun]:
    left = TAILS_BYTES_MAX
    for folder, answer in zip(folders, answers, strict=True):
        try:
            if isinstance(answer, RunStatistics):
                yield _live(folder, answer)
                continue
            if not folder.journal.is_dir():
                raise NotADirectoryError(ENOTDIR, "its journal is no folder")
            seen = glance(folder.journal, bytes_max=min(left, TAIL_BYTES_MAX))
            left -= 0 if seen.unread_bytes else seen.read_bytes
            yield _with_training(folder, _on_record(folder, seen, answer))
        except (TunemillError, OSError, ValueError, KeyError, TypeError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            yield UnreadableRun(folder=folder.name, problem=said or type(error).__name__)


def _live(folder: RunFolder, statistics: RunStatistics) -> RunLine:
    counts, money = statistics.requests, statistics.money
    return RunLine(
        folder=folder.name,
        run=statistics.run,
        state=statistics.state,
        simulated=statistics.simulated,
        planned=counts.planned,
        completed=counts.completed,
        failed=counts.failed,
        settled=money.settled,
        uncertain=money.uncertain,
        budget=money.budget,
        active_at=_changed_at(folder),
    )


def _on_record(folder: RunFolder, seen: Glance, answer: NoAnswer) -> RunLine:
    totals = seen.totals
    is_worked_on = answer is not NoAnswer.NOBODY
    planned, completed, failed = _counts(seen)
    return RunLine(
        folder=folder.name,
        run=folder.path.name if totals.opened is None else totals.opened.run,
        state=_state(seen, is_worked_on=is_worked_on),
        simulated=totals.opened is not None and totals.opened.simulated,
        planned=planned,
        completed=completed,
        failed=failed,
        settled=totals.settled,
        uncertain=totals.uncertain + (0 if is_worked_on else totals.reserved),
        budget=_budget(folder),
        active_at=seen.changed_at or _changed_at(folder),
        as_of=seen.known_at if seen.unread_bytes else None,
        note=_note(folder, answer),
    )


def _state(seen: Glance, *, is_worked_on: bool) -> RunState:
    if is_worked_on:
        return RunState.RUNNING
    if seen.ended is not None:
        return RunState(seen.ended.state)
    return RunState.INTERRUPTED if seen.totals.opened is not None or seen.unread_bytes else RunState.IDLE


def _counts(seen: Glance) -> tuple[int, int, int]:
    """Planned, completed and failed places; as exact as the journal's snapshot, and never more than planned."""
    totals = seen.totals
    planned = totals.rows * (totals.opened.places if totals.opened else 0)
    settled = None if seen.mark is None else settled_by(seen.mark)
    if settled is None or seen.mark is None:
        completed = min(planned, totals.answers)
        return planned, completed, min(planned - completed, totals.failures)
    failed = min(planned, settled.failed)
    return planned, min(planned - failed, settled.completed + answers_since(seen.mark, totals.answers)), failed


def _note(folder: RunFolder, answer: NoAnswer) -> str:
    process = f"process {folder.holder or 'unknown'}"
    match answer:
        case NoAnswer.SILENT:
            return f"{process} does not answer: it hangs, or was stopped"
        case NoAnswer.BUSY:
            return f"{process} is at work on it and takes no questions"
        case _:
            return ""


def _with_training(folder: RunFolder, line: RunLine) -> RunLine:
    record = load(folder.path, line.run)
    training = record.committed(None, simulated=line.simulated) or 0
    return replace(line, settled=line.settled + training)


def _budget(folder: RunFolder) -> Picodollars | None:
    """By the folder's copy of the recipe. One that is not there, or huge, says nothing."""
    try:
        if folder.recipe.stat().st_size > RECIPE_BYTES_MAX:
            return None
        recipe = tomllib.loads(folder.recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    table = recipe.get("budget")
    amount = table.get("usd") if isinstance(table, dict) else None
    return picodollars(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) else None


def _changed_at(folder: RunFolder) -> float:
    files = [*folder.journal.glob("[0-9]*.jsonl"), folder.path / "lock"]
    return max((path.stat().st_mtime for path in files if path.exists()), default=0.0)
