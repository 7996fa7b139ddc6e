"""Recognises our own files and jobs in a target's lists. Pure; this is what makes a lost reply harmless.

A file is known by its name, which carries the hash of its content. A job is known by its metadata; a target that drops
metadata shows it by none of ours being there, and then the training file's id has to do.
"""

from collections.abc import Iterable, Mapping, Set

from tunemill.client.fine_tuning_values import METADATA_VALUE_CHARS_MAX, FileInfo, JobInfo
from tunemill.finetune.record import DataFile, Submission

RUN_KEY = "tunemill_run"
TRAIN_KEY = "tunemill_train_sha256"
VALIDATION_KEY = "tunemill_validation_sha256"
NUMBER_KEY = "tunemill_submission"

_UNUSABLE = {"error", "failed", "deleted", "deleting", "cancelled"}


def upload_name(run: str, role: str, sha256: str) -> str:
    """What a file is called at the target: `movie-plots-train-0123456789ab.jsonl`."""
    return f"{run}-{role}-{sha256[:12]}.jsonl"


def metadata_of(run: str, submission: Submission) -> Mapping[str, str]:
    """The pairs by which a job is recognised: few and short enough for every target."""
    validation = "" if submission.validation is None else submission.validation.sha256
    pairs = {
        RUN_KEY: run[:METADATA_VALUE_CHARS_MAX],
        TRAIN_KEY: submission.train.sha256,
        NUMBER_KEY: str(submission.number),
    }
    return pairs | ({VALIDATION_KEY: validation} if validation else {})


def find_file(listed: Iterable[FileInfo], file: DataFile) -> FileInfo | None:
    """The oldest usable upload of a file's bytes, or None. A size that is not told is no reason to doubt the name."""
    ours = [
        info
        for info in listed
        if info.name == file.name and info.size in {file.size, None, 0} and info.status not in _UNUSABLE
    ]
    return min(ours, key=lambda info: info.created_at, default=None)


def find_jobs(
    listed: Iterable[JobInfo], *, run: str, submission: Submission, training_file: str, other_than: Set[str]
) -> list[JobInfo]:
    """The jobs that were made for this run from this dataset, oldest first, without those that are accounted for."""
    expected = {key: text for key, text in metadata_of(run, submission).items() if key != NUMBER_KEY}
    ours = [job for job in listed if job.id not in other_than and _is_ours(job, expected, training_file=training_file)]
    return sorted(ours, key=lambda job: job.created_at)


def _is_ours(job: JobInfo, expected: Mapping[str, str], *, training_file: str) -> bool:
    if RUN_KEY in job.metadata:
        said = {key: job.metadata[key] for key in (RUN_KEY, TRAIN_KEY, VALIDATION_KEY) if key in job.metadata}
        return said == expected
    return bool(training_file) and job.training_file == training_file
