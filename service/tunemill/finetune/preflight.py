"""What is looked at before anything is sent: the file, the model, the price. Pure.

A finding is an error to raise, a warning to show, or nothing.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

from tunemill.client.fine_tuning_values import ModelInfo
from tunemill.errors import ProviderRefused, RunFolderError

EXAMPLES_MIN = 10
EPOCHS_USUAL = 3
EPOCHS_EXAMPLES_MIN = 100
EPOCHS_EXAMPLES_MAX = 25_000
SHUTDOWN_WARNING_DAYS = 60
_FAULTS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """What the dataset stage says of a training file.

    `faults` are those that a target would refuse it for, shown with `str`; `tokens` are of one epoch.
    """

    faults: Sequence[object]
    examples: int
    tokens: int


Role: TypeAlias = Literal["train", "validation"]
Check: TypeAlias = Callable[[Path, Role], CheckedFile]


def require_valid(path: Path, report: CheckedFile) -> None:
    """Refuse a file with faults."""
    if report.faults:
        shown = "; ".join(str(fault) for fault in report.faults[:_FAULTS_SHOWN])
        more = len(report.faults) - _FAULTS_SHOWN
        raise RunFolderError(
            f"is not a valid training file: {shown}" + (f"; and {more} more" if more > 0 else ""),
            mend=f"`tunemill check {path}` lists every fault; mend the recipe and build again",
            file=path,
        )


def require_enough(path: Path, report: CheckedFile) -> None:
    """Refuse a training file that every target would refuse as too small."""
    if report.examples < EXAMPLES_MIN:
        raise RunFolderError(
            f"has {report.examples} examples, and fine-tuning needs at least {EXAMPLES_MIN}",
            mend="generate more rows or loosen [clean]; 50 to 100 examples are a good start",
            file=path,
        )


def epochs_of(n_epochs: int | Literal["auto"], examples: int) -> int:
    """The epochs to pay for. For "auto" what the OpenAI cookbook's data preparation notebook documents as the default:
    3, more for less than 100 examples altogether (at most 25), fewer for more than 25,000; rounded up."""
    if n_epochs != "auto":
        return n_epochs
    if examples * EPOCHS_USUAL < EPOCHS_EXAMPLES_MIN:
        return min(25, -(-EPOCHS_EXAMPLES_MIN // max(examples, 1)))
    if examples * EPOCHS_USUAL > EPOCHS_EXAMPLES_MAX:
        return max(1, -(-EPOCHS_EXAMPLES_MAX // examples))
    return EPOCHS_USUAL


def model_warnings(model: str, listed: Sequence[ModelInfo], *, today: date) -> tuple[str, ...]:
    """Refuse a model that the target does not list or has shut down; warn of one that is about to be.

    A target that lists nothing is believed to know what it does.
    """
    if not listed:
        return ()
    found = next((info for info in listed if info.id == model), None)
    if found is None:
        raise ProviderRefused(f"[fine_tune] model = {model!r}: the target does not list it; {_nearest(model, listed)}")
    if found.shutdown_date is None:
        return ()
    days = (found.shutdown_date - today).days
    if days <= 0:
        raise ProviderRefused(
            f"[fine_tune] model = {model!r}: shut down on {found.shutdown_date}; choose a model that goes on"
        )
    if days > SHUTDOWN_WARNING_DAYS:
        return ()
    return (f"{model} shuts down on {found.shutdown_date}, in {days} days, and every tune of it with it",)


def _nearest(model: str, listed: Sequence[ModelInfo]) -> str:
    names = [info.id for info in listed]
    near = difflib.get_close_matches(model, names, n=3, cutoff=0.5)
    return f"the nearest are {', '.join(near)}" if near else f"it lists {', '.join(sorted(names)[:5])}"
