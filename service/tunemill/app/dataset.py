"""The second stage: from the journal's answers to the dataset, and the list of what failed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tunemill.app.candidates import candidates
from tunemill.app.folder import RunFolder
from tunemill.app.reading import Outcome, outcomes
from tunemill.clock import Clock
from tunemill.dataset import BuildResult, BuildSpec, Names, RunFacts, build, is_current, read_report
from tunemill.engine import Step
from tunemill.errors import RecipeError
from tunemill.files import replacing
from tunemill.journal import Journal, RequestState
from tunemill.model import Candidate, FailureKind, Json, JsonObject
from tunemill.recipe import LoadedRecipe, Recipe, recipe_fingerprint
from tunemill.recipe.sections import TrainSection
from tunemill.statistics import RunStatistics
from tunemill.templates import Template, values_for


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
    """Build, unless what is there is what would be built (then None). `is_stopped` is asked at every row.

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
    last = recipe.steps[-1] if recipe.steps else None
    tools: Json = last.params.get("tools") if last else None
    spec = BuildSpec(
        recipe=recipe.name,
        clean=recipe.clean,
        train=recipe.train,
        compile_template=lambda text, key: Template.parse(text, key=key, file=loaded.path).render,
        names=_names(recipe, recipe.train, loaded.path),
        fingerprint=fingerprint,
        base_model=recipe.fine_tune.model if recipe.fine_tune else "",
        tools=tools if isinstance(tools, list) else (),
    )
    facts = RunFacts(statistics=statistics, failures=failures)
    return build(
        _until(is_stopped, candidates(journal, steps)), folder.path, spec=spec, facts=facts, monotonic=clock.monotonic
    )


def _until(is_stopped: Callable[[], bool], some: Iterator[Candidate]) -> Iterator[Candidate]:
    for each in some:
        if is_stopped():
            raise BuildStopped
        yield each


def _names(recipe: Recipe, train: TrainSection, file: Path) -> Names:
    """What the templates of `[train]` see. `entropy` only where one of them does: it takes as long as to render one."""
    texts = (getattr(train, key) for key in train.template_keys)
    has_entropy = any("entropy" in Template.parse(text, key="train", file=file).names for text in texts if text)
    seed = recipe.source.seed
    return lambda row, sample: values_for(row, seed=seed, sample=sample, with_entropy=has_entropy)
