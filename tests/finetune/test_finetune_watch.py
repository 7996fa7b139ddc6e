"""A job is followed to its end, over poll errors, strange statuses and restarts, and cancelled where asked."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.finetune.finetune_support import PRICE
from tests.finetune.wire_support import Answered, Asked, Cut, forward, refusal, said
from tests.finetune.world_support import JOBS, World, gateway, world
from tests.support.simulator import Simulator

from tunemill.client.fine_tuning_values import JobError, JobInfo
from tunemill.errors import ProviderRefused, ProviderUnreachable, RunFolderError
from tunemill.finetune.cancel import AlreadyEnded, Cancelled, CancelRequested
from tunemill.finetune.patience import Patience
from tunemill.finetune.watch import WatchPace, cost_of

HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"


def is_poll(asked: Asked) -> bool:
    """Whether it asks for a job and nothing else."""
    return asked.method == "GET" and asked.path.startswith(f"{JOBS}/") and asked.path.count("/") == 4


def assert_events_once(there: World) -> None:
    """Each of the target's events is there once, in order."""
    ids = [event["id"] for event in there.events()]
    assert ids
    assert len(set(ids)) == len(ids)
    times = [event["created_at"] for event in there.events()]
    assert times == sorted(times)


async def test_a_job_is_followed_to_its_model(here: World) -> None:
    """Statuses and the target's events are told, the curve and the cost are on record."""
    await here.submit()
    ended = await here.watch()
    job = here.jobs()[0]
    outcome = ended.outcome
    assert outcome.status == "succeeded"
    assert outcome.model == job["fine_tuned_model"]
    assert outcome.trained_tokens == job["trained_tokens"] > 0
    assert outcome.cost == job["trained_tokens"] * PRICE
    assert outcome.error == ""
    assert_events_once(here)
    assert here.curve()[0] == HEADER
    assert len(here.curve()) > 1
    assert [event.status for event in here.ear.heard if event.what == "status"][-1] == "succeeded"
    assert here.ear.messages("event") == [event["message"] for event in here.events()]
    assert here.ear.messages("ended") == [f"the tuned model is {outcome.model}"]


async def test_a_job_that_ended_is_not_asked_about_again(here: World) -> None:
    """The record knows."""
    await here.submit()
    first = await here.watch()
    with gateway(here.base_url, lambda asked, real: real()) as passing:
        assert await here.through(passing).watch() == first
        assert passing.asked == []


async def test_an_unknown_price_is_an_unknown_cost(here: World) -> None:
    """And not one of zero."""
    await here.submit(price_per_token=None)
    ended = await here.watch(price=None)
    assert ended.outcome.trained_tokens
    assert ended.outcome.cost is None


async def test_poll_errors_are_survived_and_told(here: World) -> None:
    """Cut connections, error pages, 429 and 500, one after the other: none of them is an end."""
    await here.submit()
    troubles: list[Answered | Cut] = [
        Cut(),
        Cut(),  # aiohttp asks a second time by itself where a GET is cut
        Answered(status=502, body=b"<html>", headers={"Content-Type": "text/html"}),
        said({"error": {"message": "later"}}, 429, Retry_After="20"),
        refusal(500, "sorry", "server_error"),
        Answered(body=b"<html>"),
        refusal(404, "no such job", "not_found"),
    ]

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return troubles.pop(0) if is_poll(asked) and troubles else real()

    with gateway(here.base_url, spoil) as rough:
        ended = await here.through(rough).watch()
    assert ended.outcome.status == "succeeded"
    assert troubles == []
    told = here.ear.messages("poll_failed")
    assert len(told) == 6
    assert told[2] == "HTTP 429: later; asking again in 20 s (the job goes on at the target)"
    assert_events_once(here)


async def test_an_outage_longer_than_a_day_ends_the_watch_but_not_the_job(here: World) -> None:
    """The message says how to go on, and the next watch does."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return Cut() if is_poll(asked) else real()

    with (
        gateway(here.base_url, spoil) as dead,
        pytest.raises(ProviderUnreachable, match="`tunemill watch` takes it up"),
    ):
        await here.through(dead).watch()
    assert 86_000 < here.clock.now_s <= 86_400
    assert here.record().state.value == "created"
    assert (await here.watch()).outcome.status == "succeeded"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(401, "wrong key", "invalid_api_key"), "HTTP 401"),
        (refusal(404, "no such job", "not_found"), "HTTP 404 .*no such job"),
    ],
)
async def test_a_target_that_refuses_ends_the_watch(here: World, answer: Answered, told: str) -> None:
    """A wrong key at once; an unknown job after a few looks, because some targets need a moment to know it."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        return answer if is_poll(asked) else real()

    with gateway(here.base_url, spoil) as strict:
        with pytest.raises(ProviderRefused, match=told):
            await here.through(strict).watch()
        polls = sum(map(is_poll, strict.asked))
    assert polls == (1 if answer.status == 401 else 6)


async def test_unknown_statuses_are_no_end(here: World) -> None:
    """Paused, pausing and words that nobody has heard of are told and waited through."""
    await here.submit()
    statuses = ["pausing", "paused", "paused", "reticulating", ""]

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        return said({**answer.json, "status": statuses.pop(0)}) if is_poll(asked) and statuses else answer

    with gateway(here.base_url, spoil) as strange:
        ended = await here.through(strange).watch()
    assert ended.outcome.status == "succeeded"
    seen = [event.status for event in here.ear.heard if event.what == "status"]
    assert seen[:4] == ["pausing", "paused", "reticulating", ""]
    assert here.ear.messages("status")[0] == "the job is pausing"


async def test_success_waits_for_the_models_name(here: World) -> None:
    """Some targets say succeeded a moment before they name the model."""
    await here.submit()
    nameless = 3

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        nonlocal nameless
        answer = real()
        if is_poll(asked) and answer.json["status"] == "succeeded" and nameless:
            nameless -= 1
            return said({**answer.json, "fine_tuned_model": None})
        return answer

    with gateway(here.base_url, spoil) as hasty:
        ended = await here.through(hasty).watch()
    assert nameless == 0
    assert ended.outcome.model


async def test_a_model_that_is_never_named_is_not_waited_for_for_ever(here: World) -> None:
    """The end says so."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        return said({**answer.json, "fine_tuned_model": None}) if is_poll(asked) else answer

    with gateway(here.base_url, spoil) as silent:
        ended = await here.through(silent).watch()
    assert (ended.outcome.status, ended.outcome.model) == ("succeeded", "")
    assert ended.outcome.error == "the target never named the tuned model"


async def test_polls_grow_rarer_while_nothing_changes(here: World) -> None:
    """From two seconds to a minute, and from the start again when the status changes."""
    await here.submit()
    left = 20

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        nonlocal left
        if is_poll(asked) and left:
            left -= 1
            return said({"id": asked.path.rsplit("/", 1)[1], "status": "running" if left >= 10 else "paused"})
        return real()

    with gateway(here.base_url, spoil) as slow:
        await here.through(slow).watch()
    assert here.clock.waits_s[:10] == [2, 3, 4.5, 6.75, 10.125, 15.1875, 22.78125, 34.171875, 51.2578125, 60]
    assert here.clock.waits_s[10:12] == [2, 3]


@pytest.mark.parametrize("is_base64", [False, True])
async def test_the_results_file_becomes_the_curve(tmp_path: Path, run_name: str, is_base64: bool) -> None:
    """As CSV or as base64 of it."""
    options = ["--results-base64"] if is_base64 else []
    with Simulator("--job-per-retrieve", *options) as server:
        there = world(server.base_url, tmp_path, run_name)
        await there.submit()
        await there.watch()
        assert there.curve()[0] == HEADER
        served = forward(_content_of(there), server.base_url).body
        text = base64.b64decode(served) if is_base64 else served
        assert there.curve() == text.decode().split()


def _content_of(there: World) -> Asked:
    path = f"/v1/files/{there.jobs()[0]['result_files'][0]}/content"
    return Asked(method="GET", path=path, query={}, headers={}, body=b"")


async def test_without_a_results_file_the_curve_is_from_the_events(here: World) -> None:
    """A target that cannot serve it, or serves a web page, takes nothing away; both are told."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        return Answered(body=b"<html>") if asked.path.endswith("/content") else real()

    with gateway(here.base_url, spoil) as poor:
        await here.through(poor).watch()
    steps = [event["data"]["step"] for event in here.events() if (event.get("data") or {}).get("step")]
    assert [int(line.split(",")[0]) for line in here.curve()[1:]] == steps
    assert "is no CSV; metrics.csv is from the target's events" in here.ear.messages("warning")[-1]


@pytest.mark.parametrize("at_request", range(1, 9))
async def test_a_watch_that_is_stopped_goes_on_where_it_was(here: World, at_request: int) -> None:
    """Whatever it was asking for when it was stopped: no event is written twice and none is missing."""
    await here.submit()
    requests = 0
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        nonlocal requests
        requests += 1
        if requests == at_request:
            loop.call_soon_threadsafe(enough.set)
        return real()

    with gateway(here.base_url, spoil) as passing:
        task = asyncio.create_task(here.through(passing).watch())
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended = await here.through(passing).watch()
        served = _events_at(here)
    assert ended.outcome.status == "succeeded"
    assert_events_once(here)
    assert sorted(event["id"] for event in here.events()) == sorted(served)


def _events_at(there: World) -> list[str]:
    path = f"{JOBS}/{there.jobs()[0]['id']}/events"
    asked = Asked(method="GET", path=path, query={"limit": "100"}, headers={}, body=b"")
    data: list[dict[str, Any]] = forward(asked, there.base_url).json["data"]
    return [event["id"] for event in data]


async def test_events_that_cannot_be_read_do_not_stop_the_watch(here: World) -> None:
    """They are not what it waits for."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return Cut() if asked.path.endswith("/events") else real()

    with gateway(here.base_url, spoil) as mute:
        ended = await here.through(mute).watch()
    assert ended.outcome.status == "succeeded"
    assert any("events cannot be read" in message for message in here.ear.messages("poll_failed"))


async def test_a_job_that_failed_ends_with_the_targets_message(here: World) -> None:
    """The record has it, and the caller exits with it; a job that failed over its file cost nothing."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        if not is_poll(asked):
            return answer
        error = {"code": "invalid_training_file", "message": "line 3 is not JSON", "param": "training_file"}
        changes = {"status": "failed", "error": error, "fine_tuned_model": None, "trained_tokens": None}
        return said({**answer.json, **changes, "result_files": []})

    with gateway(here.base_url, spoil) as failing:
        ended = await here.through(failing).watch()
    assert (ended.outcome.status, ended.outcome.model, ended.outcome.cost) == ("failed", "", 0)
    assert ended.outcome.error == "line 3 is not JSON"
    assert here.ear.messages("ended") == ["the job failed: line 3 is not JSON"]
    assert here.record().summary()["error"] == "line 3 is not JSON"


@pytest.mark.parametrize(
    ("status", "tokens", "error", "price", "cost"),
    [
        ("succeeded", 10, None, 7, 70),
        ("succeeded", 10, None, None, None),
        ("succeeded", None, None, 7, None),
        ("cancelled", None, None, 7, None),
        ("cancelled", 4, None, 7, 28),
        ("failed", None, JobError(code="c", message="m", param="validation_file"), 7, 0),
        ("failed", None, JobError(code="c", message="m", param=""), 7, None),
        ("failed", 3, JobError(code="c", message="m", param=""), 7, 21),
    ],
)
def test_the_cost_is_trained_tokens_by_price_or_unknown(
    status: str, tokens: int | None, error: JobError | None, price: int | None, cost: int | None
) -> None:
    """Only a job that never trained is known to be free."""
    job = JobInfo(
        id="j", status=status, model="m", training_file="f", created_at=0.0, trained_tokens=tokens, error=error
    )
    assert cost_of(job, price) == cost


async def test_nothing_to_watch_is_a_message(here: World) -> None:
    """It names the file and the command."""
    with pytest.raises(
        RunFolderError, match=r"finetune.json: there is no fine-tuning job to follow .*`tunemill submit`"
    ):
        await here.watch()


async def test_cancelling_stops_the_job(here: World) -> None:
    """The end is on record, and cancelling again says that it had ended."""
    await here.submit()
    cancelled = await here.cancel()
    assert isinstance(cancelled, Cancelled)
    assert here.jobs()[0]["status"] == "cancelled"
    assert here.record().state.value == "ended"
    assert isinstance(await here.cancel(), AlreadyEnded)
    assert (await here.watch()).outcome.status == "cancelled"


async def test_cancelling_a_job_that_ended_unseen_says_how_it_ended(here: World) -> None:
    """The target refuses, and is asked."""
    await here.submit()

    def hide(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        answer = real()
        if is_poll(asked) and answer.json["status"] == "succeeded":
            return Cut()
        return answer

    pace = WatchPace(outage=Patience(total_s=1.0))
    with gateway(here.base_url, hide) as hiding, pytest.raises(ProviderUnreachable):
        await here.through(hiding).watch(pace=pace)
    late = await here.cancel()
    assert isinstance(late, AlreadyEnded)
    assert late.ended.outcome.status == "succeeded"
    assert here.record().summary()["model"] == late.ended.outcome.model


async def test_a_lost_reply_to_cancel_is_asked_again(here: World) -> None:
    """Cancelling twice is cancelling once."""
    await here.submit()
    lost = 1

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        nonlocal lost
        answer = real()
        if asked.path.endswith("/cancel") and lost:
            lost -= 1
            return Cut()
        return answer

    with gateway(here.base_url, spoil) as lossy:
        assert isinstance(await here.through(lossy).cancel(), Cancelled)


async def test_a_target_that_takes_its_time_to_cancel_is_not_the_end(here: World) -> None:
    """The request is acknowledged; watch sees the end."""
    await here.submit()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        return said({**answer.json, "status": "cancelling"}) if asked.path.endswith("/cancel") else answer

    with gateway(here.base_url, spoil) as slow:
        asked_for = await here.through(slow).cancel()
    assert asked_for == CancelRequested(job_id=here.jobs()[0]["id"], status="cancelling")
    assert (await here.watch()).outcome.status == "cancelled"
