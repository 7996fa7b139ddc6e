"""Makers of candidates, specs and facts for the tests of the dataset stage."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import orjson

from tunemill.dataset import BuildResult, BuildSpec, Judge, Judging, RunFacts, build
from tunemill.dataset.formats.base import Render
from tunemill.model import Candidate, Completion, FailureKind, Json, Row, RunState
from tunemill.recipe.sections import ChatTrain, CleanSection, TrainSection
from tunemill.statistics import Money, RequestCounts, RunStatistics
from tunemill.templates import Template, entropy

SOME = 7
CHAT = ChatTrain(user="Tell me about {{ topic }}.", assistant="{{ story }}")


def compiled(text: str, key: str) -> Render:
    return Template.parse(text, key=key).render


def names_of(row: Row, sample: int) -> dict[str, Json]:
    return {**row.fields, "row_id": row.id, "sample": sample, "entropy": entropy(0, row.id, sample)}


def row_of(**fields: Json) -> Row:
    content = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return Row(id=hashlib.blake2b(content, digest_size=16).hexdigest(), fields=fields)


def candidate_of(
    *texts: str, position: int = 0, sample: int = 0, row: Row | None = None, finish_reason: str = "stop"
) -> Candidate:
    """A candidate of the one step `story`; without a text, of a recipe without steps."""
    completions = [Completion(text=text, finish_reason=finish_reason) for text in texts]
    return candidate_with(*completions, position=position, sample=sample, row=row)


def candidate_with(*completions: Completion, position: int = 0, sample: int = 0, row: Row | None = None) -> Candidate:
    """A candidate with these completions; the steps are called draft1, draft2, ..., and the last one story."""
    steps = [f"draft{number}" for number in range(1, len(completions))] + ["story"]
    return Candidate(
        position=position,
        row=row_of(topic=f"topic {position}") if row is None else row,
        sample=sample,
        answers=dict(zip(steps, completions, strict=False)),
    )


def spec_of(
    train: TrainSection = CHAT,
    clean: CleanSection | None = None,
    *,
    recipe: str = "stories",
    fingerprint: str = "f1",
    tools: tuple[Json, ...] = (),
) -> BuildSpec:
    return BuildSpec(
        recipe=recipe,
        clean=clean or CleanSection(),
        train=train,
        compile_template=compiled,
        names=names_of,
        fingerprint=fingerprint,
        base_model="gpt-4o-mini-2024-07-18",
        tools=tools,
    )


def statistics_of(
    *, completed: int = 0, failed: int = 0, simulated: bool = False, settled: int = 0, recipe: str = "stories"
) -> RunStatistics:
    return RunStatistics(
        run=recipe,
        state=RunState.FINISHED,
        simulated=simulated,
        requests=RequestCounts(planned=completed + failed, completed=completed, failed=failed, waiting=0, in_flight=0),
        money=Money(settled=settled, uncertain=0, reserved=0, budget=None, forecast=None),
        tokens={("story", "input"): 7 * completed, ("story", "output"): 90 * completed},
    )


def facts_of(
    *, completed: int = 0, failures: Mapping[FailureKind, int] | None = None, simulated: bool = False, settled: int = 0
) -> RunFacts:
    failures = failures or {}
    failed = sum(failures.values())
    statistics = statistics_of(completed=completed, failed=failed, simulated=simulated, settled=settled)
    return RunFacts(statistics=statistics, failures=failures)


def judging_of(candidates: Iterable[Candidate], spec: BuildSpec) -> Judging:
    """Some at a time, as a build takes them."""
    judge, rest = Judge(spec), iter(candidates)
    return lambda limits: (judge.judge(some, limits()) for some in iter(lambda: [*islice(rest, SOME)], []))


def built(candidates: Iterable[Candidate], folder: Path, spec: BuildSpec | None = None) -> BuildResult:
    """Build with an answer of a run without failures."""
    spec = spec or spec_of()
    return build(judging_of(candidates, spec), folder, spec=spec, facts=facts_of(), monotonic=lambda: 0.0)


def lines_of(path: Path) -> list[dict[str, Json]]:
    """A JSON Lines file's objects; none where there is no file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
