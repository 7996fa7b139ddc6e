"""The record: its states, its sums, and the file that it lives in."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.finetune.finetune_support import HERE, PRICE, RUN, data_file, made, submission

from tunemill.errors import RunFolderError, RunFolderUnwritable
from tunemill.finetune import store
from tunemill.finetune.record import (
    Begun,
    Checkpoint,
    DataFile,
    Destination,
    Done,
    Effect,
    FineTuneRecord,
    NotBegun,
    Outcome,
    Refused,
    Running,
)

FILE = data_file()
EMPTY = FineTuneRecord(run=RUN)
ESTIMATED = 1000 * 3 * PRICE

TEXTS = st.text(max_size=20)
TIMES = st.floats(min_value=0, max_value=4e9)
EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.builds(NotBegun, kind=st.just("not_begun")),
    st.builds(Begun, at=TIMES, kind=st.just("begun")),
    st.builds(Refused, at=TIMES, message=TEXTS, kind=st.just("refused")),
    st.builds(Done, at=TIMES, id=TEXTS, kind=st.just("done")),
)
OUTCOMES = st.builds(
    Outcome,
    at=TIMES,
    status=st.sampled_from(["succeeded", "failed", "cancelled", "lost"]),
    model=TEXTS,
    error=TEXTS,
    trained_tokens=st.none() | st.integers(0, 10**15),
    cost=st.none() | st.integers(0, 10**18),
    checkpoints=st.lists(st.builds(Checkpoint, step=st.integers(0, 10**6), model=TEXTS), max_size=2).map(tuple),
)
PROGRESS = OUTCOMES | st.builds(Running, status=TEXTS, kind=st.just("running"))


@given(st.lists(st.tuples(EFFECTS, PROGRESS, st.booleans()), max_size=3), EFFECTS)
def test_a_record_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[Effect, Outcome | Running, bool]], upload: Effect
) -> None:
    """Whatever happened, nothing of it is lost on the way through the file."""
    record = EMPTY.with_upload(FILE, HERE, upload)
    for number, (creation, progress, is_again) in enumerate(jobs, start=1):
        made_anew = submission(creation, number=number, is_again=is_again)
        record = record.with_current(replace(made_anew, progress=progress))
    folder = tmp_path_factory.mktemp("run")
    store.save(folder, record)
    assert store.load(folder, RUN) == record


def test_no_file_is_an_empty_record(tmp_path: Path) -> None:
    """A run folder that never saw a submission has nothing to tell."""
    assert store.load(tmp_path, RUN) == EMPTY
    assert EMPTY.summary() == {"state": "nothing"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "finetune.json:1: damaged: is not JSON"),
        (b'{"format": 1,\n "run"', "finetune.json:2: damaged: is not JSON"),
        (b"[]", "finetune.json: damaged: is not a record of format 1"),
        (b'{"format": 2}', "finetune.json: damaged: is not a record of format 1"),
        (b'{"format": 1}', "finetune.json: run: damaged: Field required"),
        (b'{"format": 1, "run": "r", "submissions": [{}]}', "finetune.json: submissions.0.number: damaged"),
    ],
)
def test_a_damaged_record_is_a_message_and_never_an_empty_record(tmp_path: Path, content: bytes, told: str) -> None:
    """It names the file, the place and the mend: a forgotten job would be paid for twice."""
    (tmp_path / store.FILE_NAME).write_bytes(content)
    with pytest.raises(RunFolderError) as raised:
        store.load(tmp_path, RUN)
    assert told in str(raised.value)
    assert "restore it from a backup" in str(raised.value)


def test_a_folder_that_is_gone_cannot_be_written(tmp_path: Path) -> None:
    """Exit 74, and not a traceback."""
    with pytest.raises(RunFolderUnwritable):
        store.save(tmp_path / "gone", EMPTY)


def test_the_file_tells_a_person_the_state_first(tmp_path: Path) -> None:
    """`jq .summary` answers what most people ask."""
    store.save(tmp_path, EMPTY.with_current(submission(made())))
    shown = orjson.loads((tmp_path / store.FILE_NAME).read_bytes())
    assert shown["summary"] == {
        "state": "created",
        "status": "",
        "job_id": "ftjob-1",
        "base_model": "gpt-4o-mini-2024-07-18",
        "model": "",
        "error": "",
        "usd_estimated": 0.009,
        "usd": None,
        "base_url": "http://127.0.0.1:1/v1",
        "simulated": False,
    }


@pytest.mark.parametrize(
    ("upload", "creation", "state"),
    [
        (NotBegun(), NotBegun(), "planned"),
        (Begun(at=1), NotBegun(), "uploading"),
        (Refused(at=1, message="no"), NotBegun(), "refused"),
        (Done(at=1, id="file-1"), NotBegun(), "uploaded"),
        (Done(at=1, id="file-1"), Begun(at=1), "creating"),
        (Done(at=1, id="file-1"), Refused(at=1, message="no"), "refused"),
        (Done(at=1, id="file-1"), made(), "created"),
    ],
)
def test_the_state_follows_from_the_effects(upload: Effect, creation: Effect, state: str) -> None:
    """It is never kept beside them, so it cannot disagree with them."""
    record = EMPTY.with_upload(FILE, HERE, upload).with_current(submission(creation))
    assert record.state.value == state


def test_a_validation_file_that_is_missing_keeps_the_state_at_uploading() -> None:
    """Both files have to be there before a job can be made."""
    validation = DataFile(role="validation", name="v", sha256="cc" * 32, size=1)
    both = replace(submission(), validation=validation)
    record = EMPTY.with_upload(FILE, HERE, Done(at=1, id="file-1")).with_current(both)
    assert record.state.value == "uploading"
    assert record.with_upload(validation, HERE, Done(at=1, id="file-2")).state.value == "uploaded"


def test_an_outcome_ends_it() -> None:
    """Whatever the outcome is."""
    ended = replace(submission(made()), progress=Outcome(at=1, status="failed", error="bad data"))
    record = EMPTY.with_current(ended)
    assert record.state.value == "ended"
    assert record.summary()["error"] == "bad data"


def test_uploads_are_kept_for_each_target() -> None:
    """A file at one target is not at another, and a later step replaces an earlier one."""
    there = Destination(base_url="http://127.0.0.1:2/v1", simulated=False)
    record = EMPTY.with_upload(FILE, HERE, Begun(at=1)).with_upload(FILE, HERE, Done(at=2, id="file-1"))
    assert record.upload_of(FILE, HERE) == Done(at=2, id="file-1")
    assert record.upload_of(FILE, there) == NotBegun()
    assert len(record.uploads) == 1


@pytest.mark.parametrize(
    ("creation", "progress", "cost"),
    [
        (NotBegun(), Running(), 0),
        (Refused(at=1, message="no"), Running(), 0),
        (Begun(at=1), Running(), ESTIMATED),
        (made(), Running(status="running"), ESTIMATED),
        (made(), Outcome(at=2, status="succeeded", cost=7), 7),
        (made(), Outcome(at=2, status="failed", cost=0), 0),
        (made(), Outcome(at=2, status="cancelled"), ESTIMATED),
    ],
)
def test_what_is_committed_is_the_cost_or_else_the_estimate(
    creation: Effect, progress: Outcome | Running, cost: int
) -> None:
    """A job that may exist counts until its cost is known; one that was never made costs nothing."""
    record = EMPTY.with_current(replace(submission(creation), progress=progress))
    assert record.committed(None, simulated=False) == cost
    assert record.committed(None, simulated=True) == 0


def test_an_unknown_price_makes_the_sum_unknown_until_it_is_known() -> None:
    """Unknown is not zero; a price that is known by now is applied to the tokens of then."""
    record = EMPTY.with_current(submission(made(), price=None))
    assert record.committed(None, simulated=False) is None
    assert record.committed(PRICE, simulated=False) == ESTIMATED
    trained = replace(submission(made(), price=None), progress=Outcome(at=2, status="succeeded", trained_tokens=500))
    assert EMPTY.with_current(trained).committed(PRICE, simulated=False) == 500 * PRICE


def test_the_jobs_of_all_submissions_add_up() -> None:
    """`--again` is paid on top."""
    record = EMPTY.with_current(submission(made("a"))).with_current(submission(made("b"), number=2))
    assert record.committed(None, simulated=False) == 2 * ESTIMATED
    assert record.job_ids == {"a", "b"}
