"""The files and fine-tuning API on a real wire: what each reply, error and silence becomes."""

import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from tests.finetune.finetune_support import SkippingClock, write_dataset
from tests.finetune.wire_support import Answered, Asked, Cut, Hang, Rule, WireServer, refusal, said

from tunemill.client.fine_tuning import Deadlines, FineTuningTarget
from tunemill.client.fine_tuning_values import (
    CheckpointInfo,
    FileInfo,
    JobError,
    JobInfo,
    JobRequest,
    ModelInfo,
    TargetBusy,
    TargetError,
    TargetRefused,
    TargetUncertain,
    TargetUnreachable,
)
from tunemill.model import FailureKind

KEY = "sk-secret-0123456789"
JOB = {
    "id": "ftjob-1",
    "object": "fine_tuning.job",
    "status": "queued",
    "model": "m",
    "training_file": "file-1",
    "created_at": 5,
    "metadata": {"a": "b"},
    "fine_tuned_model": None,
    "trained_tokens": None,
    "result_files": [],
    "error": {"code": None, "message": None, "param": None},
}
REQUEST = JobRequest(
    model="m",
    training_file="file-1",
    validation_file=None,
    method="supervised",
    hyperparameters={},
    suffix="",
    seed=None,
    wandb_project="",
    metadata={"tunemill_run": "r"},
)


@contextlib.asynccontextmanager
async def target_at(base_url: str, *, call_s: float = 10.0) -> AsyncIterator[FineTuningTarget]:
    target = FineTuningTarget(base_url=base_url, api_key=KEY, clock=SkippingClock(), deadlines=Deadlines(call_s=call_s))
    try:
        yield target
    finally:
        await target.aclose()


async def error_of(rule: Rule, *, call_s: float = 10.0) -> TargetError:
    """What creating a job against such a server ends in."""
    with WireServer(rule) as server:
        async with target_at(server.base_url, call_s=call_s) as target:
            with pytest.raises(TargetError) as raised:
                await target.create(REQUEST)
        assert len(server.asked) == 1, "the SDK must not repeat anything by itself"
    assert KEY not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", FailureKind.BAD_REQUEST),
        (401, "invalid_api_key", FailureKind.BAD_KEY),
        (402, "payment", FailureKind.QUOTA_EXHAUSTED),
        (403, "forbidden", FailureKind.BAD_KEY),
        (404, "model_not_found", FailureKind.MODEL_UNKNOWN),
        (413, "too_large", FailureKind.BAD_REQUEST),
        (422, "unprocessable", FailureKind.BAD_REQUEST),
        (429, "insufficient_quota", FailureKind.QUOTA_EXHAUSTED),
    ],
)
async def test_a_4xx_is_a_refusal_with_the_targets_message(status: int, code: str, kind: FailureKind) -> None:
    """Nothing happened; the message says what the target said, without a key that it echoes."""
    error = await error_of(lambda asked: refusal(status, f"no, {KEY}", code))
    assert isinstance(error, TargetRefused)
    assert (error.kind, error.status, error.is_missing) == (kind, status, status == 404)
    assert str(error) == f"HTTP {status} ({code}): no, [key]"


async def test_a_redirect_is_a_refusal() -> None:
    """A POST is never sent to another address on a server's word."""
    error = await error_of(lambda asked: said({}, 307, Location="http://127.0.0.1:1/v1/elsewhere"))
    assert isinstance(error, TargetRefused)


async def test_a_429_says_when_to_come_back() -> None:
    """It had no effect."""
    error = await error_of(lambda asked: said({"error": {"message": "slow"}}, 429, Retry_After="7"))
    assert isinstance(error, TargetBusy)
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize(
    "answer",
    [
        refusal(500, "sorry", "server_error"),
        Answered(status=502, body=b"<html>bad gateway</html>", headers={"Content-Type": "text/html"}),
        Answered(status=503, body=b""),
        Answered(status=504, body=b"<html>timeout</html>", headers={"Content-Type": "text/html"}),
        refusal(408, "too slow"),
        refusal(409, "conflict"),
        Answered(body=b"<html>please log in</html>", headers={"Content-Type": "text/html"}),
        Answered(body=b"[]"),
        said({"object": "fine_tuning.job"}),
        said({"error": {"message": "no"}}),
        Cut(),
    ],
)
async def test_anything_else_leaves_open_what_happened(answer: Answered | Cut) -> None:
    """5xx, error pages, answers that are none, and above all a connection that is cut after the request was read."""
    error = await error_of(lambda asked: answer)
    assert isinstance(error, TargetUncertain)


async def test_silence_ends_at_our_deadline() -> None:
    """And leaves it open."""
    error = await error_of(lambda asked: Hang(0.5), call_s=0.1)
    assert isinstance(error, TargetUncertain)
    assert str(error) == "no answer within 0.1 s"


async def test_a_port_where_nobody_listens_was_sent_nothing() -> None:
    """So that it may be tried again without a look."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with target_at(address) as target:
            with pytest.raises(TargetUnreachable, match=r"Connect call failed.*, connecting to 127\.0\.0\.1:"):
                await target.create(REQUEST)


async def test_a_job_is_created_with_what_was_chosen_and_nothing_else() -> None:
    """Hyperparameters stand under the method; the deprecated top-level ones are never sent."""
    with WireServer(lambda asked: said(JOB)) as server:
        async with target_at(server.base_url) as target:
            job = await target.create(REQUEST)
            full = JobRequest(
                model="m",
                training_file="file-1",
                validation_file="file-2",
                method="dpo",
                hyperparameters={"n_epochs": 2, "beta": 0.1},
                suffix="plots",
                seed=0,
                wandb_project="films",
                metadata={"k": "v"},
            )
            await target.create(full)
        plain, rich = (asked.json for asked in server.asked)
        assert server.asked[0].path == "/v1/fine_tuning/jobs"
    assert plain == {
        "model": "m",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
        "metadata": {"tunemill_run": "r"},
    }
    assert rich == {
        "model": "m",
        "training_file": "file-1",
        "validation_file": "file-2",
        "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "beta": 0.1}}},
        "suffix": "plots",
        "seed": 0,
        "integrations": [{"type": "wandb", "wandb": {"project": "films"}}],
        "metadata": {"k": "v"},
    }
    assert job == JobInfo(
        id="ftjob-1", status="queued", model="m", training_file="file-1", created_at=5.0, metadata={"a": "b"}
    )


async def test_a_job_is_read_whatever_its_server_leaves_out() -> None:
    """Only the id is needed; an unknown status is kept as it is."""
    replies = [
        said({"id": "ftjob-1"}),
        said({**JOB, "status": "paused", "metadata": None, "error": None, "result_files": None, "created_at": None}),
        said(
            {
                **JOB,
                "status": "failed",
                "trained_tokens": 12,
                "result_files": ["file-9", {"id": "file-8"}],
                "error": {"code": "bad", "message": "line 3", "param": "training_file"},
            }
        ),
    ]
    with WireServer(lambda asked: replies.pop(0)) as server:
        async with target_at(server.base_url) as target:
            bare, paused, failed = [await target.retrieve("ftjob-1") for _ in range(3)]
    assert bare == JobInfo(id="ftjob-1", status="", model="", training_file="", created_at=0.0)
    assert (paused.status, paused.metadata, paused.error, paused.result_files) == ("paused", {}, None, ())
    assert failed.error == JobError(code="bad", message="line 3", param="training_file")
    assert (failed.trained_tokens, failed.result_files) == (12, ("file-9", "file-8"))


async def test_an_upload_sends_the_bytes_under_our_name(tmp_path: Path) -> None:
    """In a multipart form whose purpose is fine-tune."""
    path = write_dataset(tmp_path, 2000)
    reply = {"id": "file-1", "filename": "plots-train-abc.jsonl", "bytes": 3, "created_at": 4, "status": "processed"}
    with WireServer(lambda asked: said(reply)) as server:
        async with target_at(server.base_url) as target:
            info = await target.upload(path, "plots-train-abc.jsonl")
        asked = server.asked[0]
    assert asked.path == "/v1/files"
    assert path.read_bytes() in asked.body
    assert b'filename="plots-train-abc.jsonl"' in asked.body
    assert b'name="purpose"\r\n\r\nfine-tune' in asked.body
    assert info == FileInfo(id="file-1", name="plots-train-abc.jsonl", size=3, created_at=4.0, status="processed")


def paged(asked: Asked, items: list[dict[str, object]], size: int) -> Answered:
    """A server's pages."""
    ids = [str(item["id"]) for item in items]
    start = ids.index(asked.query["after"]) + 1 if "after" in asked.query else 0
    return said({"object": "list", "data": items[start : start + size], "has_more": start + size < len(items)})


async def test_lists_are_read_to_their_last_page() -> None:
    """However small the server makes its pages."""
    jobs: list[dict[str, object]] = [{**JOB, "id": f"ftjob-{number}"} for number in range(7)]
    with WireServer(lambda asked: paged(asked, jobs, 3)) as server:
        async with target_at(server.base_url) as target:
            listed = await target.list_jobs()
            files = await target.list_files()
        assert [job.id for job in listed] == [f"ftjob-{number}" for number in range(7)]
        assert len(files) == 7
        assert [asked.query.get("purpose") for asked in server.asked] == [None] * 3 + ["fine-tune"] * 3


async def test_a_server_that_ignores_the_cursor_does_not_hold_us_for_ever() -> None:
    """The same page twice is the end."""
    with WireServer(lambda asked: said({"data": [JOB], "has_more": True})) as server:
        async with target_at(server.base_url) as target:
            assert len(await target.list_jobs()) == 1
        assert len(server.asked) == 2


async def test_what_has_no_id_cannot_be_ours() -> None:
    """A malformed entry does not spoil the list; a list that is none does."""
    replies = [said({"data": [{"status": "queued"}, 7, JOB]}), said({"object": "list"})]
    with WireServer(lambda asked: replies.pop(0)) as server:
        async with target_at(server.base_url) as target:
            assert [job.id for job in await target.list_jobs()] == ["ftjob-1"]
            with pytest.raises(TargetUncertain, match="a list without its data"):
                await target.list_jobs()


def event(number: int, created_at: int) -> dict[str, object]:
    return {"id": f"e{number}", "created_at": created_at, "message": f"message {number}", "level": "info"}


@pytest.mark.parametrize("is_newest_first", [True, False])
async def test_events_come_oldest_first_however_they_are_served(is_newest_first: bool) -> None:
    """Also those of the same second."""
    served = [event(number, number // 2) for number in range(9)]
    if is_newest_first:
        served.reverse()
    with WireServer(lambda asked: paged(asked, served, 4)) as server:
        async with target_at(server.base_url) as target:
            events = await target.list_events("ftjob-1", frozenset())
            assert [entry.id for entry in events] == [f"e{number}" for number in range(9)]


async def test_pages_of_events_that_are_known_are_not_fetched() -> None:
    """A long job's events are not read from the beginning at every poll."""
    served = [event(number, number) for number in reversed(range(100))]
    with WireServer(lambda asked: paged(asked, served, 10)) as server:
        async with target_at(server.base_url) as target:
            events = await target.list_events("ftjob-1", {f"e{number}" for number in range(95)})
        assert [entry.id for entry in events] == [f"e{number}" for number in range(90, 100)]
        assert len(server.asked) == 1


async def test_an_event_without_an_id_is_recognised_by_its_content() -> None:
    """So that it is not new at every poll."""
    served = [{"created_at": 1, "message": "a"}, {"created_at": 1, "message": "b"}]
    with WireServer(lambda asked: said({"data": served})) as server:
        async with target_at(server.base_url) as target:
            first = await target.list_events("ftjob-1", frozenset())
            second = await target.list_events("ftjob-1", frozenset())
    assert len({entry.id for entry in first}) == 2
    assert first == second


async def test_models_carry_their_end() -> None:
    """A date, a date with a time, none, and nonsense."""
    data = [
        {"id": "a", "shutdown_date": "2027-01-14"},
        {"id": "b", "shutdown_date": "2027-01-14T00:00:00Z"},
        {"id": "c", "shutdown_date": None},
        {"id": "d", "shutdown_date": "soon"},
    ]
    with WireServer(lambda asked: said({"data": data})) as server:
        async with target_at(server.base_url) as target:
            models = await target.list_models()
    end = date(2027, 1, 14)
    assert models == (
        ModelInfo(id="a", shutdown_date=end),
        ModelInfo(id="b", shutdown_date=end),
        ModelInfo(id="c"),
        ModelInfo(id="d"),
    )


async def test_a_target_may_keep_no_list_of_models() -> None:
    """404 is an empty list; a wrong key is not."""
    with WireServer(lambda asked: refusal(404, "no such address")) as server:
        async with target_at(server.base_url) as target:
            assert await target.list_models() == ()
            server.rule = lambda asked: refusal(401, "wrong key")
            with pytest.raises(TargetRefused):
                await target.list_models()


async def test_checkpoints_come_by_step_and_results_as_served() -> None:
    """Bytes are not touched."""
    data = [
        {"id": "c2", "step_number": 20, "fine_tuned_model_checkpoint": "m:20"},
        {"id": "c1", "step_number": 10, "fine_tuned_model_checkpoint": "m:10"},
    ]
    with WireServer(lambda asked: said({"data": data})) as server:
        async with target_at(server.base_url) as target:
            checkpoints = await target.list_checkpoints("ftjob-1")
            server.rule = lambda asked: Answered(body=b"step,\xff\n", headers={"Content-Type": "text/csv"})
            assert await target.read_file("file-9") == b"step,\xff\n"
        assert server.asked[-1].path == "/v1/files/file-9/content"
    assert checkpoints == (CheckpointInfo(step=10, model="m:10"), CheckpointInfo(step=20, model="m:20"))


async def test_cancelling_asks_for_the_job_to_be_cancelled() -> None:
    """The reply is the job."""
    with WireServer(lambda asked: said({**JOB, "status": "cancelled"})) as server:
        async with target_at(server.base_url) as target:
            assert (await target.cancel("ftjob-1")).status == "cancelled"
        assert (server.asked[0].method, server.asked[0].path) == ("POST", "/v1/fine_tuning/jobs/ftjob-1/cancel")
