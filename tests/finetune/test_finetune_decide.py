"""Whether a job may be made: one table of what is on record against what is asked for."""

from dataclasses import replace

import pytest
from tests.finetune.finetune_support import HERE, RUN, data_file, made, submission

from tunemill.finetune.decide import AlreadySubmitted, Dataset, DatasetChanged, GoOn, MadeElsewhere, decide, is_open
from tunemill.finetune.record import (
    Begun,
    Destination,
    FineTuneRecord,
    Outcome,
    Refused,
    Settings,
    Submission,
)

NOW = Dataset(train=data_file(), validation=None)
CHANGED = Dataset(train=data_file("bb" * 32), validation=None)
SETTINGS = submission().settings
THERE = Destination(base_url="http://127.0.0.1:2/v1", simulated=False)
SIMULATED = Destination(base_url="http://127.0.0.1:3/v1", simulated=True)


def record_of(*submissions: Submission) -> FineTuneRecord:
    return FineTuneRecord(run=RUN, submissions=submissions)


@pytest.mark.parametrize("again", [False, True])
def test_the_first_submission_is_number_one(again: bool) -> None:
    """Where nothing is on record a job may be made; `again` makes it one that adopts no earlier job."""
    assert decide(record_of(), NOW, SETTINGS, HERE, again=again) == GoOn(number=1, is_again=again)


@pytest.mark.parametrize("creation", [None, Refused(at=1.0, message="HTTP 400: no")])
@pytest.mark.parametrize("dataset", [NOW, CHANGED])
def test_a_job_that_was_never_made_stands_in_nobodys_way(creation: Refused | None, dataset: Dataset) -> None:
    """A planned or refused submission is begun anew under its own number, also with another dataset."""
    record = record_of(submission(creation))
    assert decide(record, dataset, SETTINGS, HERE, again=False) == GoOn(number=1, is_again=False)


def test_a_second_again_takes_up_the_first_one_that_made_no_job() -> None:
    """`--again` that was interrupted before its job was made does not count twice."""
    record = record_of(submission(made()), submission(number=2, is_again=True))
    assert decide(record, NOW, SETTINGS, HERE, again=True) == GoOn(number=2, is_again=True)
    assert decide(record, NOW, SETTINGS, HERE, again=False) == GoOn(number=2, is_again=True)


def test_the_same_dataset_is_not_submitted_twice() -> None:
    """The job that there is, is the answer, and settings that changed since are named."""
    record = record_of(submission(made()))
    now = replace(SETTINGS, suffix="other", seed=8)
    verdict = decide(record, NOW, now, HERE, again=False)
    assert verdict == AlreadySubmitted(record=record, job_id="ftjob-1", differences=("suffix", "seed"))


def test_a_failed_job_still_counts_as_submitted() -> None:
    """Only `--again` pays for a second try."""
    failed = replace(submission(made()), progress=Outcome(at=2.0, status="failed", error="no"))
    assert isinstance(decide(record_of(failed), NOW, SETTINGS, HERE, again=False), AlreadySubmitted)
    assert decide(record_of(failed), NOW, SETTINGS, HERE, again=True) == GoOn(number=2, is_again=True)


def test_a_changed_dataset_is_said_to_have_changed() -> None:
    """Nothing is made for it without `--again`."""
    record = record_of(submission(made()))
    verdict = decide(record, CHANGED, SETTINGS, HERE, again=False)
    assert verdict == DatasetChanged(record=record, job_id="ftjob-1", sha256_then="aa" * 32, sha256_now="bb" * 32)
    assert decide(record, CHANGED, SETTINGS, HERE, again=True) == GoOn(number=2, is_again=True)


def test_a_changed_validation_file_is_a_changed_dataset() -> None:
    """The validation file belongs to the dataset."""
    record = record_of(submission(made()))
    with_validation = replace(NOW, validation=replace(data_file(), role="validation"))
    assert isinstance(decide(record, with_validation, SETTINGS, HERE, again=False), DatasetChanged)


@pytest.mark.parametrize(("creation", "job_id"), [(made(), "ftjob-1"), (Begun(at=1.0), "")])
def test_a_job_at_another_target_is_named(creation: Begun, job_id: str) -> None:
    """Changing base_url does not make a second job, also where it is open whether there is a first."""
    record = record_of(submission(creation))
    verdict = decide(record, NOW, SETTINGS, THERE, again=False)
    assert verdict == MadeElsewhere(record=record, job_id=job_id, base_url=HERE.base_url)
    assert decide(record, NOW, SETTINGS, THERE, again=True) == GoOn(number=2, is_again=True)


def test_a_rehearsal_does_not_stand_in_the_way_of_the_real_thing() -> None:
    """A simulated job is no reason not to make the real one; a real one is a reason not to simulate."""
    rehearsed = record_of(submission(made(), destination=SIMULATED))
    assert decide(rehearsed, NOW, SETTINGS, HERE, again=False) == GoOn(number=2, is_again=True)
    real = record_of(submission(made()))
    assert isinstance(decide(real, NOW, SETTINGS, SIMULATED, again=False), MadeElsewhere)


def test_a_simulated_job_outlives_its_servers_port_but_not_its_server() -> None:
    """The embedded server's address is another one each time; a job that went with it is made anew."""
    other_port = replace(SIMULATED, base_url="http://127.0.0.1:4/v1")
    ran = submission(made(), destination=SIMULATED)
    assert isinstance(decide(record_of(ran), NOW, SETTINGS, other_port, again=False), AlreadySubmitted)
    lost = replace(ran, progress=Outcome(at=2.0, status="lost"))
    assert decide(record_of(lost), NOW, SETTINGS, other_port, again=False) == GoOn(number=2, is_again=True)


def test_only_what_is_open_here_is_asked_for_here() -> None:
    """A target is asked about what it may have, and about nothing else."""
    begun = submission(Begun(at=1.0))
    assert is_open(begun, HERE)
    assert not is_open(begun, THERE)
    assert not is_open(submission(made()), HERE)
    assert not is_open(None, HERE)


def test_settings_that_are_equal_do_not_differ() -> None:
    """The comparison is by value."""
    again: Settings = replace(SETTINGS, hyperparameters=dict(SETTINGS.hyperparameters))
    verdict = decide(record_of(submission(made())), NOW, again, HERE, again=False)
    assert isinstance(verdict, AlreadySubmitted)
    assert verdict.differences == ()
