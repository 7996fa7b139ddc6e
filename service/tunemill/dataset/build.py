"""`build`: takes judged candidates once, in source order, and puts the training files in place, all of them or none.

The same candidates give the same bytes in `train.jsonl`, `validation.jsonl`, `rejects.jsonl` and `inference.json`,
whatever happened on the way to them; nothing in these files depends on time. Memory: about 80 bytes for each candidate,
for duplicates and for the split, and a few megabytes beside.

`validation.jsonl` exists only when it has examples: an empty file would be refused by a target, and one from an earlier
build would be a lie, so it is removed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tunemill.dataset.clean import Rejected
from tunemill.dataset.inference import INFERENCE_FILE, inference_of
from tunemill.dataset.judge import Judged, LeftOut, Limits, Ready, reject_line
from tunemill.dataset.page import page_of
from tunemill.dataset.report import Report, RunFacts
from tunemill.dataset.select import Selector
from tunemill.dataset.spec import BuildSpec
from tunemill.dataset.split import Side, Splitter
from tunemill.dataset.tally import Figures, Tally
from tunemill.dataset.writing import FileRecord, FileSet, dump_text
from tunemill.model import Json

TRAIN_FILE = "train.jsonl"
VALIDATION_FILE = "validation.jsonl"
REJECTS_FILE = "rejects.jsonl"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


Judging: TypeAlias = Callable[[Callable[[], Limits]], Iterable[Judged]]
"""All candidates, judged, in source order, some at a time. It may ask at any time whose texts are still wanted."""


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
    judging: Judging, folder: Path, *, spec: BuildSpec, facts: RunFacts, monotonic: Callable[[], float]
) -> BuildResult:
    """Write the dataset and its report into `folder`, whose lock the caller holds. `monotonic` gives seconds.

    Raises:
        RunFolderUnwritable: the folder cannot be written; what was in it before still is.
    """
    started_s = monotonic()
    selector = Selector(splitter=Splitter(fraction=spec.train.validation_fraction))
    tally = Tally(seed=spec.train.seed)
    with FileSet(folder) as files:
        files.open(TRAIN_FILE, VALIDATION_FILE, REJECTS_FILE)
        for judged in judging(tally.limits):
            _place(judged, selector, tally, files)
        figures = tally.figures()
        records = _finish(files, spec, facts, figures)
    seconds = monotonic() - started_s
    return BuildResult(figures=figures, files=records, fingerprint=spec.fingerprint, seconds=seconds)


def _place(judged: Judged, selector: Selector, tally: Tally, files: FileSet) -> None:
    """Decide about some candidates, count them, and write each into its file."""
    train: list[Ready] = []
    validation: list[Ready] = []
    rejects: list[bytes] = []
    for record in judged.records:
        if isinstance(record, LeftOut):
            tally.add_left_out(record)
            rejects.append(record.line)
            continue
        decision = selector.decide(record)
        if isinstance(decision, Rejected):
            tally.add_rejected(record, decision)
            rejects.append(reject_line(record.row_id, record.position, record.sample, decision, record.said))
        else:
            (train if decision is Side.TRAIN else validation).append(record)
    tally.add_reasons(judged.finish_reasons)
    for name, side, examples in ((TRAIN_FILE, Side.TRAIN, train), (VALIDATION_FILE, Side.VALIDATION, validation)):
        tally.add_examples(side, examples)
        files.write_lines(name, [example.line for example in examples])
    files.write_lines(REJECTS_FILE, rejects)


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
