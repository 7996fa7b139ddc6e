"""Exactly one upload and exactly one job, at a real server, whatever gets lost, lags, is refused or is killed."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.finetune.finetune_support import MODEL, SkippingClock, write_dataset, write_validation
from tests.finetune.wire_support import Answered, Asked, Cut, forward, refusal, said
from tests.finetune.world_support import FILES, JOBS, Lagging, LostReplies, World, gateway, without_metadata, world
from tests.support import warm
from tests.support.simulator import Simulator

from tunemill.errors import ProviderRefused, ProviderUnreachable, RecipeError, RunFolderError
from tunemill.finetune.decide import AlreadySubmitted, DatasetChanged, MadeElsewhere, OverBudget, Submitted
from tunemill.finetune.record import Begun, Destination, NotBegun, Refused
from tunemill.recipe.sections import FineTuneSection

ROOT = Path(__file__).parents[2]


def assert_once(there: World, *, files: int = 1) -> None:
    """One job, and each file once."""
    assert len(there.jobs()) == 1
    assert len(there.files()) == files


async def test_a_submission_uploads_once_and_creates_once(here: World) -> None:
    """The job carries the run and the content in its metadata, and the recipe's settings under its method."""
    result = await here.submit()
    assert isinstance(result, Submitted)
    assert not result.found
    assert_once(here)
    job = here.jobs()[0]
    assert job["id"] == result.job_id == here.record().summary()["job_id"]
    assert job["metadata"] == {
        "tunemill_run": here.run,
        "tunemill_train_sha256": here.record().submissions[0].train.sha256,
        "tunemill_submission": "1",
    }
    assert job["method"]["supervised"]["hyperparameters"]["n_epochs"] == 3
    assert here.ear.messages("created") == [f"fine-tuning job {job['id']} created at {here.base_url}"]


async def test_both_files_are_uploaded_where_there_are_two(here: World) -> None:
    """The validation file is the job's validation file."""
    await here.submit(validation=write_validation(here.folder))
    assert_once(here, files=2)
    by_name = {file["filename"].split("-")[-2]: file["id"] for file in here.files()}
    assert here.jobs()[0]["training_file"] == by_name["train"]
    assert here.jobs()[0]["validation_file"] == by_name["validation"]


async def test_submitting_again_sends_nothing(here: World) -> None:
    """The job that there is, is the answer."""
    first = await here.submit()
    assert isinstance(first, Submitted)
    with gateway(here.base_url, lambda asked, real: real()) as passing:
        second = await here.through(passing).submit()
        assert passing.asked == []
    assert isinstance(second, AlreadySubmitted)
    assert second.job_id == first.job_id


@pytest.mark.parametrize("lost", [{"upload": 1}, {"create": 1}, {"upload": 1, "create": 1}])
async def test_lost_replies_make_nothing_twice(here: World, lost: dict[str, int]) -> None:
    """What happened is found in the server's lists."""
    with gateway(here.base_url, LostReplies(**lost)) as lossy:
        result = await here.through(lossy).submit()
        assert lossy.count("POST", FILES) == 1
        assert lossy.count("POST", JOBS) == 1
    assert isinstance(result, Submitted)
    assert result.found == ("create" in lost)
    assert_once(here)


async def test_the_simulators_own_lost_replies_make_nothing_twice(tmp_path: Path, run_name: str) -> None:
    """The same, with nothing between us and the server."""
    with Simulator("--lose-reply", "upload=1", "--lose-reply", "create=1", "--job-per-retrieve") as server:
        there = world(server.base_url, tmp_path, run_name)
        assert isinstance(await there.submit(), Submitted)
        assert_once(there)


async def test_a_list_that_lags_is_waited_for(here: World) -> None:
    """Four empty looks after a lost reply, and still nothing is made twice; each wait is explained."""
    with gateway(here.base_url, Lagging(4)) as lagging:
        await here.through(lagging).submit()
        assert lagging.count("POST", FILES) == 1
        assert lagging.count("POST", JOBS) == 1
    assert_once(here)
    assert sum(here.clock.waits_s) == 2 * (1 + 2 + 4 + 8)
    assert any("not in the target's list yet" in message for message in here.ear.messages("waiting"))


@pytest.mark.parametrize("lost", [{}, {"create": 1}])
async def test_a_server_that_drops_metadata_makes_nothing_twice(here: World, lost: dict[str, int]) -> None:
    """Its job is recognised by the training file."""
    lose = LostReplies(**lost)

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return lose(asked, lambda: without_metadata(asked, real))

    with gateway(here.base_url, spoil) as forgetful:
        through = here.through(forgetful)
        await through.submit()
        (here.folder / "finetune.json").unlink()
        result = await through.submit()
    assert isinstance(result, Submitted)
    assert result.found
    assert_once(here)


async def test_a_lost_record_is_no_reason_for_a_second_job(here: World) -> None:
    """Who deletes finetune.json gets the same job again, and `--again` gets another."""
    first = await here.submit()
    (here.folder / "finetune.json").unlink()
    second = await here.submit()
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert (second.job_id, second.found) == (first.job_id, True)
    (here.folder / "finetune.json").unlink()
    third = await here.submit(again=True)
    assert isinstance(third, Submitted)
    assert not third.found
    assert len(here.jobs()) == 2
    assert len(here.files()) == 1


async def test_a_refused_job_is_not_begun_and_is_made_by_the_next_submit(here: World) -> None:
    """The target's message is on record and in the error; the upload is used again."""

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        if (asked.method, asked.path) == ("POST", JOBS):
            return refusal(400, "the suffix is taken")
        return real()

    with gateway(here.base_url, spoil) as strict:
        through = here.through(strict)
        with pytest.raises(ProviderRefused, match=r"creating the fine-tuning job: .*HTTP 400 .*the suffix is taken"):
            await through.submit()
        creation = here.record().submissions[0].creation
        assert isinstance(creation, Refused)
        assert creation.message == "HTTP 400 (invalid_request): the suffix is taken"
        assert here.record().state.value == "refused"
        strict.rule = lambda asked: forward(asked, here.base_url)
        assert isinstance(await through.submit(), Submitted)
    assert_once(here)


async def test_a_server_without_the_uploads_of_yesterday_gets_them_again(here: World) -> None:
    """People delete files; an upload that is gone is no upload."""
    gone = refusal(404, "no such file", "not_found")

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        if (asked.method, asked.path) == ("POST", JOBS):
            return refusal(400, "not today")
        return real()

    with gateway(here.base_url, spoil) as strict:
        through = here.through(strict)
        with pytest.raises(ProviderRefused):
            await through.submit()
        first = here.files()[0]["id"]

        def without_first(asked: Asked) -> Answered:
            if asked.path == f"{FILES}/{first}":
                return gone
            if (asked.method, asked.path) == ("GET", FILES):
                return said({"data": [file for file in here.files() if file["id"] != first], "has_more": False})
            return forward(asked, here.base_url)

        strict.rule = without_first
        assert isinstance(await through.submit(), Submitted)
        assert strict.count("POST", FILES) == 2
    assert [job["training_file"] for job in here.jobs()] == [file["id"] for file in here.files() if file["id"] != first]


async def test_a_busy_server_is_waited_for_as_long_as_it_asks(here: World) -> None:
    """429 had no effect, so nothing is looked for."""
    busy = [said({"error": {"message": "later", "code": "rate_limit_exceeded"}}, 429, Retry_After="30")] * 2

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        return busy.pop() if (asked.method, asked.path) == ("POST", JOBS) and busy else real()

    with gateway(here.base_url, spoil) as slow:
        assert isinstance(await here.through(slow).submit(), Submitted)
        assert slow.count("POST", JOBS) == 3
    assert here.clock.waits_s == [30.0, 30.0]
    assert_once(here)


async def test_a_server_that_loses_everything_stays_open_and_the_next_submit_finds_out(here: World) -> None:
    """Every reply lost before anything happened: an error that says so, and then one job."""

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return Cut() if (asked.method, asked.path) == ("POST", JOBS) else real()

    with gateway(here.base_url, spoil) as lossy:
        through = here.through(lossy)
        with pytest.raises(ProviderUnreachable, match="every reply was lost"):
            await through.submit()
        assert isinstance(here.record().submissions[0].creation, Begun)
        lossy.rule = lambda asked: forward(asked, here.base_url)
        result = await through.submit()
    assert isinstance(result, Submitted)
    assert not result.found
    assert_once(here)


async def test_a_file_that_the_target_prepares_is_waited_for(here: World) -> None:
    """No job is asked for before the file is ready; a file that the target spoils is an error."""
    statuses = ["pending", "running", "processed"]

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        if asked.method == "GET" and asked.path.startswith(f"{FILES}/"):
            return said({**answer.json, "status": statuses.pop(0)})
        return answer

    with gateway(here.base_url, spoil) as preparing:
        await here.through(preparing).submit()
        order = [(asked.method, asked.path) for asked in preparing.asked]
    assert statuses == []
    assert order.index(("POST", JOBS)) > max(i for i, step in enumerate(order) if step[1].startswith(f"{FILES}/"))
    assert here.clock.waits_s == [5.0, 5.0]


async def test_a_spoilt_file_is_an_error(here: World) -> None:
    """With the target's own word for it."""

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        return said({**answer.json, "status": "error"}) if asked.path.startswith(f"{FILES}/") else answer

    told = r"train.jsonl: the target says 'error' of its upload"
    with gateway(here.base_url, spoil) as spoiling, pytest.raises(ProviderRefused, match=told):
        await here.through(spoiling).submit()
    assert here.jobs() == []


async def test_a_changed_dataset_is_said_to_have_changed(here: World) -> None:
    """Nothing new is made without `again`; with it there is a second upload and a second job."""
    first = await here.submit()
    write_dataset(here.folder, 13, word=f"changed {here.run}")
    changed = await here.submit()
    assert isinstance(first, Submitted)
    assert isinstance(changed, DatasetChanged)
    assert changed.job_id == first.job_id
    assert changed.sha256_now != changed.sha256_then
    assert_once(here)
    assert isinstance(await here.submit(again=True), Submitted)
    assert len(here.jobs()) == 2
    assert len(here.files()) == 2


@pytest.mark.parametrize("keeps_metadata", [True, False])
async def test_again_makes_one_more_job_and_no_upload_also_when_its_reply_is_lost(
    here: World, keeps_metadata: bool
) -> None:
    """The earlier job for the same bytes is not taken for the new one."""
    first = await here.submit()
    lose = LostReplies(create=1)

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return lose(asked, real if keeps_metadata else lambda: without_metadata(asked, real))

    with gateway(here.base_url, spoil) as lossy:
        second = await here.through(lossy).submit(again=True)
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert second.found
    assert second.job_id != first.job_id
    assert len(here.jobs()) == 2
    assert len(here.files()) == 1
    assert [entry.job_id for entry in here.record().submissions] == [first.job_id, second.job_id]


async def test_a_job_at_another_target_is_named(here: World) -> None:
    """Another base_url is no permission to pay twice."""
    await here.submit()
    elsewhere = await here.submit(destination=Destination(base_url="http://127.0.0.1:1/v1", simulated=False))
    assert isinstance(elsewhere, MadeElsewhere)
    assert elsewhere.base_url == here.base_url
    assert_once(here)


async def submit_simulated(folder: Path, run: str) -> World:
    """To an embedded server of its own, twice."""
    with Simulator("--job-per-retrieve") as server:
        there = world(server.base_url, folder, run)
        destination = Destination(base_url=server.base_url, simulated=True)
        assert isinstance(await there.submit(destination=destination), Submitted)
        assert isinstance(await there.submit(destination=destination), AlreadySubmitted)
        assert_once(there)
        return there


async def test_a_simulated_job_dies_with_its_server(tmp_path: Path, run_name: str) -> None:
    """The embedded server forgets everything when it ends; the next one gets upload and job anew, without asking."""
    await submit_simulated(tmp_path, run_name)
    there = await submit_simulated(tmp_path, run_name)
    assert [entry.progress.status for entry in there.record().submissions] == ["lost", ""]


async def test_an_exhausted_budget_sends_nothing(here: World) -> None:
    """Neither file nor job, and the figures are told."""
    result = await here.submit(budget_left=1)
    assert isinstance(result, OverBudget)
    assert result.cost > result.left == 1
    assert here.files() == here.jobs() == []


async def test_an_unknown_price_under_a_budget_sends_nothing(here: World) -> None:
    """Unknown is not zero."""
    with pytest.raises(RecipeError, match="training price of this model is unknown"):
        await here.submit(budget_left=10**15, price_per_token=None)
    assert here.files() == []


async def test_an_unknown_model_is_refused_with_the_nearest_name(here: World) -> None:
    """Before anything is uploaded."""
    section = FineTuneSection(model="gpt-4o-mini-2024-07-81")
    with pytest.raises(ProviderRefused, match=rf"does not list it; the nearest are .*{MODEL}"):
        await here.submit(section=section)
    assert here.files() == []


@pytest.mark.parametrize(("shutdown", "is_refused"), [("2026-11-18", True), ("2026-12-24", False)])
async def test_a_shutdown_date_refuses_or_warns(tmp_path: Path, run_name: str, shutdown: str, is_refused: bool) -> None:
    """Passed: refused before anything is uploaded. Near: made, with a warning."""
    with Simulator("--shutdown-date", f"{MODEL}={shutdown}") as server:
        there = world(server.base_url, tmp_path, run_name)
        if is_refused:
            with pytest.raises(ProviderRefused, match=f"shut down on {shutdown}"):
                await there.submit()
            assert there.files() == []
        else:
            result = await there.submit()
            assert isinstance(result, Submitted)
            assert result.warnings == (f"{MODEL} shuts down on {shutdown}, in 36 days, and every tune of it with it",)
            assert there.ear.messages("warning") == list(result.warnings)


async def test_too_few_examples_send_nothing(here: World) -> None:
    """Nine are not enough."""
    write_dataset(here.folder, 9)
    with pytest.raises(RunFolderError, match="has 9 examples"):
        await here.submit()
    assert here.files() == []


async def test_a_dataset_that_was_never_built_is_a_message(here: World) -> None:
    """It names the file and the command."""
    here.train.unlink()
    with pytest.raises(RunFolderError, match=r"train.jsonl: cannot be read .*; run `tunemill build` first"):
        await here.submit()


async def test_a_damaged_record_sends_nothing(here: World) -> None:
    """Nobody knows whether there is a job."""
    (here.folder / "finetune.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"finetune.json:1: damaged"):
        await here.submit()
    assert here.files() == []


async def test_a_wrong_key_is_one_message(tmp_path: Path, run_name: str) -> None:
    """And nothing is begun."""
    with Simulator("--api-key", "sk-right") as server:
        there = world(server.base_url, tmp_path, run_name)
        with pytest.raises(ProviderRefused, match="asking the target for its models: the target refused: HTTP 401"):
            await there.submit()
        assert there.record().submissions == ()


async def test_a_call_that_is_cancelled_leaves_it_open(here: World) -> None:
    """Ctrl-C while the job is being created: the next submit finds the job."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered:
        answer = real()
        if (asked.method, asked.path) == ("POST", JOBS):
            loop.call_soon_threadsafe(begun.set)
            time.sleep(0.5)
        return answer

    with gateway(here.base_url, spoil) as slow:
        through = here.through(slow)
        task = asyncio.create_task(through.submit())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(here.record().submissions[0].creation, Begun)
        slow.rule = lambda asked: forward(asked, here.base_url)
        result = await through.submit()
    assert isinstance(result, Submitted)
    assert result.found
    assert_once(here)


def start_child(there: World, stop_at: str) -> "subprocess.Popen[bytes]":
    """A process that submits, and stands still at an event so that it can be killed there."""
    words = ("tests.finetune.submit_child", there.base_url, str(there.folder), there.run, stop_at)
    return warm.popen(*words, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE)


def kill(child: "subprocess.Popen[bytes]") -> None:
    """kill -9, and nothing gets tidied up."""
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert child.stdout is not None
    child.stdout.close()


def wait_for(condition: Callable[[], object]) -> None:
    """Look until it is so; the test's own timeout is the limit."""
    while not condition():
        time.sleep(0.05)


async def test_kill_between_upload_and_create(here: World) -> None:
    """The upload is on record and used; there is one job."""
    child = start_child(here, "uploaded")
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["what"] == "uploaded"
    kill(child)
    assert here.record().state.value == "uploaded"
    assert here.jobs() == []
    result = await here.submit()
    assert isinstance(result, Submitted)
    assert not result.found
    assert_once(here)


@pytest.mark.parametrize("delayed", ["upload", "create"])
async def test_kill_while_the_reply_is_on_its_way(tmp_path: Path, run_name: str, delayed: str) -> None:
    """The server did it, the process died: it is found, and nothing is made twice."""
    with Simulator("--delay", f"{delayed}=2", "--job-per-retrieve") as server:
        there = world(server.base_url, tmp_path, run_name)
        child = start_child(there, "never")
        wait_for(there.files if delayed == "upload" else there.jobs)
        kill(child)
        record = there.record()
        open_effect = record.uploads[0].effect if delayed == "upload" else record.submissions[0].creation
        assert isinstance(open_effect, Begun)
        result = await there.submit()
        assert isinstance(result, Submitted)
        assert result.found == (delayed == "create")
        assert_once(there)


async def test_kill_before_anything_was_sent(here: World) -> None:
    """Begun, but the server never heard of it: it is looked for, not found, and done."""
    assert isinstance(await here.submit(budget_left=1), OverBudget)

    def spoil(asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        return Cut() if asked.method == "POST" else real()

    with gateway(here.base_url, spoil) as deaf, pytest.raises(ProviderUnreachable):
        await here.through(deaf).submit()
    assert isinstance(here.record().uploads[0].effect, Begun)
    assert isinstance(here.record().submissions[0].creation, NotBegun)
    result = await replace(here, clock=SkippingClock()).submit()
    assert isinstance(result, Submitted)
    assert_once(here)
