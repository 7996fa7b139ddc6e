"""`build`: reads candidates once, in source order, and puts the training files in place, all of them or none.

The same candidates give the same bytes in `train.jsonl`, `validation.jsonl`, `rejects.jsonl` and `inference.json`,
whatever happened on the way to them; nothing in these files depends on time. Memory: about 80 bytes for each candidate,
for duplicates and for the split, and a few megabytes beside.

`validation.jsonl` exists only when it has examples: an empty file would be refused by a target, and one from an earlier
build would be a lie, so it is removed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunemill.dataset.assemble import Assembler, Names
from tunemill.dataset.clean import Cleaner, Rejected
from tunemill.dataset.formats import Compile, format_of
from tunemill.dataset.inference import INFERENCE_FILE, inference_of
from tunemill.dataset.page import page_of
from tunemill.dataset.report import Report, RunFacts
from tunemill.dataset.select import Selector
from tunemill.dataset.split import Side, Splitter
from tunemill.dataset.tally import Figures, Tally
from tunemill.dataset.writing import FileRecord, FileSet, dump_text
from tunemill.model import Candidate, Json
from tunemill.recipe.sections import CleanSection, TrainSection

TRAIN_FILE = "train.jsonl"
VALIDATION_FILE = "validation.jsonl"
REJECTS_FILE = "rejects.jsonl"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """What to build.

    `compile_template` makes templates of texts, `names` gives what they see of a row. `tools` are what the last step
    declared to its model; chat examples made from templates declare the same. `base_model` is "" where nothing is to be
    tuned. `fingerprint` is the caller's own word for all that the dataset depends on; `is_current` compares it.
    """

    recipe: str
    clean: CleanSection
    train: TrainSection
    compile_template: Compile
    names: Names
    fingerprint: str
    base_model: str = ""
    tools: Sequence[Json] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A dataset that is in place. `files` by name, without `report.json`, which records them; `seconds` is the time
    that it took, and is in no file."""

    figures: Figures
    files: Mapping[str, FileRecord]
    fingerprint: str
    seconds: float

    def to_json(self) -> dict[str, Json]:
        """What `status` shows under `dataset`."""
        figures = self.figures
        return {
            "candidates": figures.candidates,
            "kept": figures.kept,
            "rejected": figures.rejected,
            "train": figures.train,
            "validation": figures.validation,
            "tokens_estimate": figures.tokens_train,
        }


def build(
    candidates: Iterable[Candidate], folder: Path, *, spec: BuildSpec, facts: RunFacts, monotonic: Callable[[], float]
) -> BuildResult:
    """Write the dataset and its report into `folder`, whose lock the caller holds. `monotonic` gives seconds.

    Raises:
        RecipeError: a template or an expression of the recipe is malformed.
        RunFolderUnwritable: the folder cannot be written; what was in it before still is.
    """
    started_s = monotonic()
    selector, tally = _selector(spec), Tally(seed=spec.train.seed)
    with FileSet(folder) as files:
        files.open(TRAIN_FILE, VALIDATION_FILE, REJECTS_FILE)
        for candidate in candidates:
            decision = selector.decide(candidate)
            tally.add(candidate, decision)
            if isinstance(decision, Rejected):
                files.write_line(REJECTS_FILE, _reject_line(candidate, decision))
            else:
                name = TRAIN_FILE if decision.side is Side.TRAIN else VALIDATION_FILE
                files.write_line(name, decision.example.line)
        figures = tally.figures()
        records = _finish(files, spec, facts, figures)
    seconds = monotonic() - started_s
    return BuildResult(figures=figures, files=records, fingerprint=spec.fingerprint, seconds=seconds)


def _selector(spec: BuildSpec) -> Selector:
    to_format = format_of(spec.train, spec.compile_template, tools=spec.tools)
    assembler = Assembler(cleaner=Cleaner(spec.clean), to_format=to_format, names=spec.names)
    return Selector(
        assembler=assembler, splitter=Splitter(fraction=spec.train.validation_fraction, seed=spec.train.seed)
    )


def _finish(files: FileSet, spec: BuildSpec, facts: RunFacts, figures: Figures) -> Mapping[str, FileRecord]:
    """Everything durable first, then the renames; `report.json`, which has the others' hashes, is the last of them."""
    records = {name: files.seal(name) for name in (TRAIN_FILE, VALIDATION_FILE, REJECTS_FILE)}
    _assert_lines(records, figures)
    inference = inference_of(
        spec.train,
        recipe=spec.recipe,
        base_model=spec.base_model,
        shared_system=figures.system,
        tools=spec.tools,
    )
    records[INFERENCE_FILE] = files.write_whole(INFERENCE_FILE, dump_text(inference.to_json(), indented=True))
    if figures.validation == 0:
        files.drop(VALIDATION_FILE)
        del records[VALIDATION_FILE]
    records[PAGE_FILE] = files.write_whole(PAGE_FILE, page_of(_report(spec, facts, figures, records)))
    report = _report(spec, facts, figures, records)
    files.write_whole(REPORT_FILE, dump_text(report.to_json(), indented=True))
    files.place(without="" if figures.validation else VALIDATION_FILE)
    return records


def _assert_lines(records: Mapping[str, FileRecord], figures: Figures) -> None:
    assert records[TRAIN_FILE].lines == figures.train
    assert records[VALIDATION_FILE].lines == figures.validation
    assert records[REJECTS_FILE].lines == figures.rejected


def _report(spec: BuildSpec, facts: RunFacts, figures: Figures, files: Mapping[str, FileRecord]) -> Report:
    return Report(
        recipe=spec.recipe,
        format=spec.train.format,
        fingerprint=spec.fingerprint,
        facts=facts,
        figures=figures,
        files=dict(files),
    )


def _reject_line(candidate: Candidate, rejected: Rejected) -> bytes:
    """The texts are as the provider sent them. A recipe without steps has none: its row's fields stand instead."""
    line: dict[str, Json] = {
        "row": candidate.row.id,
        "position": candidate.position,
        "sample": candidate.sample,
        "rule": rejected.rule,
        "step": rejected.step,
        "detail": rejected.detail,
        "texts": {step: completion.text for step, completion in candidate.answers.items()},
    }
    if not candidate.answers:
        line["fields"] = candidate.row.fields
    return dump_text(line)
