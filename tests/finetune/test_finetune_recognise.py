"""Our own files and jobs among those of others."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.finetune.finetune_support import RUN, data_file, submission

from tunemill.client.fine_tuning_values import (
    METADATA_KEY_CHARS_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_CHARS_MAX,
    FileInfo,
    JobInfo,
)
from tunemill.finetune.recognise import NUMBER_KEY, RUN_KEY, find_file, find_jobs, metadata_of, upload_name

FILE = data_file()
OURS = FileInfo(id="file-1", name=FILE.name, size=FILE.size, created_at=5.0, status="processed")
MINE = submission()
JOB = JobInfo(
    id="ftjob-1",
    status="queued",
    model="m",
    training_file="file-1",
    created_at=5.0,
    metadata=dict(metadata_of(RUN, MINE)),
)


def test_the_name_at_the_target_carries_the_content() -> None:
    """Run, role and hash make the name, which ends in .jsonl as targets demand."""
    assert upload_name("movie-plots", "train", "0123456789abcdef") == "movie-plots-train-0123456789ab.jsonl"


@pytest.mark.parametrize(
    "other",
    [
        replace(OURS, name="movie-plots-train-000000000000.jsonl"),
        replace(OURS, size=FILE.size - 1),
        replace(OURS, status="error"),
        replace(OURS, status="deleted"),
    ],
)
def test_what_is_not_the_file_or_not_usable_is_not_found(other: FileInfo) -> None:
    """Another name, a torn upload, and one that the target spoilt are no uploads of ours."""
    assert find_file([other], FILE) is None


@pytest.mark.parametrize("size", [FILE.size, None, 0])
def test_a_size_that_is_not_told_is_no_doubt(size: int | None) -> None:
    """The name carries the hash already."""
    assert find_file([replace(OURS, size=size)], FILE) == replace(OURS, size=size)


def test_the_oldest_upload_is_taken() -> None:
    """So that every restart takes the same one."""
    later = replace(OURS, id="file-2", created_at=6.0)
    assert find_file([later, OURS], FILE) == OURS


def find(jobs: list[JobInfo], other_than: frozenset[str] = frozenset()) -> list[str]:
    found = find_jobs(jobs, run=RUN, submission=MINE, training_file="file-1", other_than=other_than)
    return [job.id for job in found]


def test_a_job_is_known_by_its_metadata_whatever_its_file_is_called() -> None:
    """Run and content hash decide; which submission it was does not."""
    assert find([replace(JOB, training_file="file-9", metadata={**JOB.metadata, NUMBER_KEY: "4"})]) == ["ftjob-1"]


@pytest.mark.parametrize(
    "change",
    [
        {RUN_KEY: "other-run"},
        {"tunemill_train_sha256": "bb" * 32},
        {"tunemill_validation_sha256": "cc" * 32},
    ],
)
def test_another_run_or_dataset_is_another_job(change: dict[str, str]) -> None:
    """Also where the training file has the same id: the metadata is believed before it."""
    assert find([replace(JOB, metadata={**JOB.metadata, **change})]) == []


@pytest.mark.parametrize("metadata", [{}, {"team": "films"}])
def test_a_target_that_drops_metadata_is_helped_by_the_file_id(metadata: dict[str, str]) -> None:
    """Where none of our pairs are there, the training file decides."""
    assert find([replace(JOB, metadata=metadata)]) == ["ftjob-1"]
    assert find([replace(JOB, metadata=metadata, training_file="file-2")]) == []


def test_jobs_that_are_accounted_for_are_left_out_and_the_oldest_comes_first() -> None:
    """An earlier job for the same dataset is not taken for the new one."""
    jobs = [replace(JOB, id="c", created_at=9.0), replace(JOB, id="a"), replace(JOB, id="b", created_at=7.0)]
    assert find(jobs) == ["a", "b", "c"]
    assert find(jobs, frozenset({"a"})) == ["b", "c"]


def test_without_an_upload_no_job_matches_by_an_empty_file_id() -> None:
    """A job without a training file is nobody's."""
    nameless = replace(JOB, metadata={}, training_file="")
    assert find_jobs([nameless], run=RUN, submission=MINE, training_file="", other_than=frozenset()) == []


@given(st.text(min_size=1, max_size=2000))
def test_metadata_always_fits(run: str) -> None:
    """At most 16 pairs of 64 and 512 characters, whatever the run is called."""
    pairs = metadata_of(run, replace(MINE, validation=replace(FILE, role="validation")))
    assert len(pairs) <= METADATA_PAIRS_MAX
    assert all(len(key) <= METADATA_KEY_CHARS_MAX for key in pairs)
    assert all(len(text) <= METADATA_VALUE_CHARS_MAX for text in pairs.values())
