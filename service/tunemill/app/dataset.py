"""The second stage: from the journal's answers to the dataset, and the list of what failed."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import orjson

from tunemill.app.candidates import portions
from tunemill.app.folder import RunFolder
from tunemill.app.judging import Task, judge_processes, judged_in_order, processes_worth, spec_of
from tunemill.app.reading import Outcome, outcomes
from tunemill.clock import Clock
from tunemill.dataset import BuildResult, Judged, Limits, RunFacts, build, is_current, read_report
from tunemill.engine import Step
from tunemill.errors import RecipeError
from tunemill.files import replacing
from tunemill.journal import Journal, RequestState
from tunemill.model import FailureKind, JsonObject
from tunemill.recipe import LoadedRecipe, Recipe, recipe_fingerprint
from tunemill.statistics import RunStatistics


class BuildStopped(Exception):
    """Somebody wants the process to end. The dataset is what it was before."""


def write_failed(journal: Journal, steps: tuple[Step, ...], folder: RunFolder) -> Counter[FailureKind]:
    """Write `failed.jsonl` and count its lines by class."""
    kinds: Counter[FailureKind] = Counter()
    with replacing(folder.failed) as handle:
        for outcome in outcomes(journal, steps, RequestState.FAILED):
            kinds[FailureKind(outcome.record["failure"])] += 1
            handle.write(orjson.dumps(_failed_line(outcome)) + b"\n")
    return kinds


def _failed_line(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    return {
        "request_id": record["request_id"],
        "row": outcome.row.id,
        "step": outcome.step,
        "sample": outcome.sample,
        "error": record["failure"],
        "status": record["status"],
        "message": record["message"],
        "attempts": record["attempt"],
        "fields": outcome.row.fields,
        "request": outcome.prompt,
    }


def fingerprint_of(recipe: Recipe, journal: Journal, statistics: RunStatistics) -> str:
    """What the dataset and its report depend on, in one word."""
    return f"{recipe_fingerprint(recipe)}-{journal.totals.version}-{statistics.requests.planned}"


def dataset_on_record(folder: RunFolder) -> JsonObject | None:
    """What the last build made, as `status` shows it; None where nothing was built."""
    funnel = read_report(folder.path).get("funnel")
    if not isinstance(funnel, Mapping):
        return None
    return {key: funnel.get(key) for key in ("candidates", "kept", "rejected", "train", "validation")}


def build_dataset(
    loaded: LoadedRecipe,
    journal: Journal,
    folder: RunFolder,
    *,
    steps: tuple[Step, ...],
    statistics: RunStatistics,
    clock: Clock,
    anew: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
) -> BuildResult | None:
    """Build, unless what is there is what would be built (then None). `is_stopped` is asked every some hundred
    rows, and several times a second.

    Raises RecipeError, RunFolderUnwritable, BuildStopped.
    """
    recipe = loaded.recipe
    if recipe.train is None:
        raise RecipeError(
            "there is no [train] table, so nothing says what the model is to learn",
            mend="add one (see `tunemill init`), or stop before with --until generate",
            file=loaded.path,
        )
    fingerprint = fingerprint_of(recipe, journal, statistics)
    if not anew and is_current(folder.path, fingerprint):
        return None
    failures = write_failed(journal, steps, folder)
    spec = spec_of(recipe, recipe.train, loaded.path, fingerprint=fingerprint)
    task = Task(journal=journal.folder, steps=steps, recipe=recipe, train=recipe.train, file=loaded.path)
    here = task.judge_with(journal.reader)
    facts = RunFacts(statistics=statistics, failures=failures)
    candidates_most = journal.index.positions() * prod(step.samples for step in steps)
    number = processes_worth(candidates_most, cores=len(os.sched_getaffinity(0)))
    with judge_processes(task, number) as processes:

        def judging(limits: Callable[[], Limits]) -> Iterator[Judged]:
            check = partial(_raise_if, is_stopped)
            return judged_in_order(portions(journal, steps), here, processes, limits=limits, check=check)

        return build(judging, folder.path, spec=spec, facts=facts, monotonic=clock.monotonic)


def _raise_if(is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        raise BuildStopped
