"""Fine-tuning without a wire: files are judged, and a job is a function of time."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.local.curves import Curve
from tunemill.local.files import Blob
from tunemill.local.job_requests import Refused, asked
from tunemill.local.jobs import Job, JobFailure, Status
from tunemill.local.options import JobPace
from tunemill.local.training_files import FileFormat, inspect

CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
COMPLETION = {"prompt": "a\n\n###\n\n", "completion": " b END"}
PREFERENCE = {
    "input": {"messages": [{"role": "user", "content": "a"}]},
    "preferred_output": [{"role": "assistant", "content": "b"}],
    "non_preferred_output": [{"role": "assistant", "content": "c"}],
}


def line(example: object) -> bytes:
    """One line of a file."""
    return json.dumps(example).encode()


def chat_with(message: dict[str, object]) -> dict[str, object]:
    """A chat example whose last message is this one."""
    return {"messages": [{"role": "user", "content": "a"}, message]}


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (line({"messages": []}), "messages: expected a non-empty array"),
        (line({"messages": ["x"]}), "messages[0]: expected an object"),
        (line({**CHAT, "extra": 1}), "unexpected key 'extra'"),
        (line(chat_with({"role": "robot", "content": "b"})), "'robot' is not one of"),
        (line(chat_with({"role": "assistant", "content": 3})), "content: expected a string"),
        (line(chat_with({"role": "assistant", "content": None})), "content: expected a string"),
        (line(chat_with({"role": "assistant", "content": "b", "mood": "x"})), "unexpected key 'mood'"),
        (line(chat_with({"role": "user", "content": "b"})), "last message must be from the assistant"),
        (line(chat_with({"role": "assistant", "content": "b", "weight": 2})), "it is 0 or 1"),
        (line(chat_with({"role": "assistant", "content": "b", "weight": 0})), "nothing to learn"),
        (line(COMPLETION), "unexpected key 'completion'"),
    ],
)
def test_a_bad_chat_line_is_named(example: bytes, said: str) -> None:
    """With its line number; blank lines count as lines but not as examples."""
    found = inspect([line(CHAT), b"", example], FileFormat.CHAT)
    assert found.examples == 1
    assert len(found.problems) == 1
    assert found.problems[0].startswith("Line 3: ")
    assert said in found.problems[0]


@pytest.mark.parametrize(
    ("example", "file_format", "said"),
    [
        ({"prompt": "a"}, FileFormat.COMPLETION, "completion: expected a string"),
        ({"prompt": "a", "completion": ""}, FileFormat.COMPLETION, "must not be empty"),
        ({**PREFERENCE, "input": 1}, FileFormat.PREFERENCE, "input: expected an object"),
        ({**PREFERENCE, "preferred_output": []}, FileFormat.PREFERENCE, "preferred_output: expected a non-empty"),
        (
            {**PREFERENCE, "non_preferred_output": CHAT["messages"]},
            FileFormat.PREFERENCE,
            "exactly one message, from the assistant",
        ),
    ],
)
def test_a_bad_line_of_the_other_formats_is_named(example: object, file_format: FileFormat, said: str) -> None:
    """Completion and preference files have rules of their own."""
    assert said in inspect([line(example)], file_format).problems[0]


def test_good_files_are_good_and_counted() -> None:
    """All three formats; without an expected one the first line decides."""
    for example, expected in ((CHAT, None), (COMPLETION, None), (PREFERENCE, FileFormat.PREFERENCE)):
        found = inspect([line(example)] * 12, expected)
        assert found.problems == ()
        assert found.examples == 12
        assert found.tokens >= 24


def test_problems_are_a_sample_and_not_a_flood() -> None:
    """A file of a million bad lines does not become a message of a million lines."""
    assert len(inspect([b"{"] * 1000, FileFormat.CHAT).problems) == 10


@given(content=st.binary(max_size=2000))
def test_a_blob_gives_back_its_lines(content: bytes) -> None:
    """Whatever the chunks are."""
    blob = Blob()
    blob.fill(io.BytesIO(content))
    lines = content.split(b"\n")
    assert list(blob.lines()) == (lines[:-1] if lines[-1] == b"" else lines)
    blob.close()


def job(*, failure: JobFailure | None = None, cancelled_s: float | None = None, **fields: Any) -> Job:
    """A job that validates one second, queues one second and runs ten."""
    request = {"model": "gpt-4o-mini", "training_file": "file-1", "suffix": "plots", **fields}
    return Job(
        id="ftjob-0123456789ab",
        created_at=1000,
        asked=asked(request, examples=100, seed_default=1),
        pace=JobPace(validating_s=1, queued_s=1, running_s=10),
        curve=Curve(steps=30, seed=b"x", validated=True),
        tokens=500,
        failure=failure,
        results_file="file-2",
        cancelled_s=cancelled_s,
    )


def test_a_job_walks_through_its_statuses() -> None:
    """validating_files, queued, running, succeeded."""
    walked = [job().status(elapsed_s) for elapsed_s in (0, 0.9, 1, 2, 11.9, 12, 1e9)]
    assert walked == [
        Status.VALIDATING, Status.VALIDATING, Status.QUEUED, Status.RUNNING, Status.RUNNING, Status.SUCCEEDED,
        Status.SUCCEEDED,
    ]  # fmt: skip


def test_only_the_end_shows_a_model_and_what_was_trained() -> None:
    """The name says that it is simulated; tokens count every epoch."""
    before, after = job(hyperparameters={"n_epochs": 2}).to_json(11), job(hyperparameters={"n_epochs": 2}).to_json(12)
    assert before["fine_tuned_model"] is None
    assert before["trained_tokens"] is None
    assert after["fine_tuned_model"] == "ft:gpt-4o-mini:simulated:plots:456789ab"
    assert after["trained_tokens"] == 1000
    assert after["result_files"] == ["file-2"]
    assert after["finished_at"] == 1012


def test_a_bad_file_fails_the_job_after_validation() -> None:
    """With code, message and parameter, and an event of level error."""
    failed = job(failure=JobFailure(code="invalid_file_format", message="Line 3: bad", param="training_file"))
    assert failed.status(0.5) is Status.VALIDATING
    shown = failed.to_json(1)
    assert shown["status"] == "failed"
    assert shown["error"] == {"code": "invalid_file_format", "message": "Line 3: bad", "param": "training_file"}
    assert failed.events(99)[-1].level == "error"


def test_a_cancelled_job_stays_cancelled() -> None:
    """Nothing happens after the moment of cancelling, and there is no model."""
    cancelled = job(cancelled_s=5.0)
    assert cancelled.status(4.9) is Status.RUNNING
    assert cancelled.status(99) is Status.CANCELLED
    events = cancelled.events(99)
    assert events[-1].message == "The fine-tuning job was cancelled"
    assert all(event.offset_s <= 5.0 for event in events)
    assert cancelled.checkpoints(99) == []


@given(earlier=st.floats(0, 15), later=st.floats(0, 15))
def test_events_only_ever_grow(earlier: float, later: float) -> None:
    """What was told stays told, in the same order and with the same ids."""
    first, second = sorted((earlier, later))
    shown = [event.id for event in job().events(first)]
    assert [event.id for event in job().events(second)][: len(shown)] == shown


def test_events_say_that_it_is_simulated_and_carry_metrics() -> None:
    """Messages and metrics, with the step and the losses."""
    events = [event.to_json() for event in job().events(99)]
    assert any("simulated" in str(event["message"]) for event in events)
    measured = [event["data"] for event in events if event["type"] == "metrics"]
    assert len(measured) == 30
    assert isinstance(measured[-1], dict)
    assert {"step", "train_loss", "valid_loss", "total_steps"} <= set(measured[-1])


def test_checkpoints_are_the_ends_of_the_last_epochs() -> None:
    """The last of them is the tuned model itself."""
    found = job(hyperparameters={"n_epochs": 5}).checkpoints(12)
    assert [checkpoint.point.step for checkpoint in found] == [18, 24, 30]
    assert found[-1].model == job().tuned_model


def test_the_curve_falls() -> None:
    """From its start to its floor, with noise on it."""
    curve = Curve(steps=100, seed=b"x", validated=False)
    losses = [curve.point(step).train_loss for step in range(1, 101)]
    assert losses[0] > 2 > 1.2 > losses[-1]
    assert curve.point(100).valid_loss is None
    assert len(list(curve.results())) == 101


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"training_file": 3}, "training_file"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 51}}, "n_epochs"),
        ({"hyperparameters": {"batch_size": 0}}, "batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "learning_rate_multiplier"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}}, "beta"),
        ({"metadata": {str(key): "x" for key in range(17)}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata"),
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
    ],
)
def test_a_wrong_create_request_names_its_parameter(fields: dict[str, object], param: str) -> None:
    """The documented bounds."""
    with pytest.raises(Refused) as refused:
        asked({"model": "m", "training_file": "f", **fields}, examples=1, seed_default=0)
    assert json.loads(refused.value.reply.body)["error"]["param"] == param
