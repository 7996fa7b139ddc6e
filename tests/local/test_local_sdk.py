"""The simulator through the real `openai` client: the shapes that a program depends on."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from tests.support.simulator import Simulator

EXAMPLE = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """Jobs that move on with each retrieval, so that no test waits."""
    with Simulator("--job-per-retrieve", "--results-base64") as server:
        yield server


@pytest.fixture
async def client(server: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """No retries: what the server says is what is seen."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        yield client


async def uploaded(client: openai.AsyncOpenAI, *lines: object) -> str:
    """The id of an uploaded training file."""
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    file = await client.files.create(file=("train.jsonl", content.encode()), purpose="fine-tune")
    return file.id


async def test_chat(client: openai.AsyncOpenAI) -> None:
    """Choices, finish reason and usage with its details."""
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], max_completion_tokens=40, n=2
    )
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


async def test_completions(client: openai.AsyncOpenAI) -> None:
    """The legacy endpoint, with its stop sequence."""
    answer = await client.completions.create(model="davinci-002", prompt="Once", max_tokens=50, stop=".")
    assert answer.choices[0].text
    assert "." not in answer.choices[0].text


async def test_errors_are_the_clients_own_classes(server: Simulator, client: openai.AsyncOpenAI) -> None:
    """Code, parameter and status arrive where the client keeps them."""
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="ft:none", messages=[{"role": "user", "content": "x"}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve("file-none")
    with pytest.raises(openai.NotFoundError):
        await client.fine_tuning.jobs.retrieve("ftjob-none")
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.files.create(file=("train.txt", b"{}"), purpose="fine-tune")
    assert "jsonl" in wrong.value.message
    assert server.books()["billed"] >= 0


async def test_a_simulated_tunes_name_is_answered_by_any_server(client: openai.AsyncOpenAI) -> None:
    """Whoever chats with a simulated tuned model tomorrow does so with another server."""
    answer = await client.chat.completions.create(
        model="ft:gpt-4o-mini:simulated:plots:abc", messages=[{"role": "user", "content": "x"}]
    )
    assert answer.choices[0].message.content


async def test_models(client: openai.AsyncOpenAI) -> None:
    """The list has the models that can be tuned."""
    listed = [model.id async for model in client.models.list()]
    assert {"gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4.1-mini"} <= set(listed)
    assert (await client.models.retrieve("gpt-4.1-mini")).shutdown_date is None


async def test_files_are_listed_page_by_page(client: openai.AsyncOpenAI) -> None:
    """Newest first, through as many pages as it takes, each once; a deleted file is gone."""
    made = [await uploaded(client, EXAMPLE) for _ in range(5)]
    listed = [file.id async for file in client.files.list(limit=2, purpose="fine-tune")]
    assert [file_id for file_id in listed if file_id in made] == made[::-1]
    assert (await client.files.content(made[0])).text == json.dumps(EXAMPLE)
    assert (await client.files.retrieve(made[0])).bytes == len(json.dumps(EXAMPLE))
    assert (await client.files.delete(made[0])).deleted
    assert made[0] not in [file.id async for file in client.files.list()]


async def test_a_job_from_file_to_tuned_model(client: openai.AsyncOpenAI) -> None:
    """Create, walk, events, checkpoints, results, and a tuned model that answers."""
    training, validation = await uploaded(client, *[EXAMPLE] * 25), await uploaded(client, EXAMPLE, EXAMPLE)
    job = await client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=training,
        validation_file=validation,
        suffix="movie-plots",
        metadata={"run": "r1"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        integrations=[{"type": "wandb", "wandb": {"project": "p"}}],
    )
    assert job.status == "validating_files"
    statuses = [(await client.fine_tuning.jobs.retrieve(job.id)).status for _ in range(4)]
    assert statuses == ["queued", "running", "succeeded", "succeeded"]
    job = await client.fine_tuning.jobs.retrieve(job.id)
    assert job.fine_tuned_model is not None
    assert ":simulated:movie-plots:" in job.fine_tuned_model
    assert job.trained_tokens == 2 * 25 * 10

    events = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=7)]
    assert len(events) == len({event.id for event in events}) > 50
    assert events[-1].message == f"Created fine-tuning job: {job.id}"
    assert {event.type for event in events} == {"message", "metrics"}
    checkpoints = [checkpoint async for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert [checkpoint.step_number for checkpoint in checkpoints] == [50, 25]
    csv = base64.b64decode((await client.files.content(job.result_files[0])).content).decode()
    assert csv.splitlines()[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(csv.splitlines()) == 51
    answer = await client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "x"}]
    )
    assert answer.model == job.fine_tuned_model
    assert (await client.models.retrieve(job.fine_tuned_model)).owned_by == "org-simulated"


@pytest.mark.parametrize(
    ("model", "lines", "said"),
    [
        ("gpt-4o-mini", [EXAMPLE] * 9, "must have at least 10 examples"),
        ("gpt-4o-mini", [*[EXAMPLE] * 12, "{"], "Line 13: not valid JSON"),
        ("gpt-4o-mini", [{"prompt": "a", "completion": "b"}] * 12, "Line 1: unexpected key 'completion'"),
        ("davinci-002", [EXAMPLE] * 12, "Line 1: unexpected key 'messages'"),
    ],
)
async def test_a_bad_file_fails_the_job(client: openai.AsyncOpenAI, model: str, lines: list[object], said: str) -> None:
    """Not at the upload, but when the job has validated it."""
    job = await client.fine_tuning.jobs.create(model=model, training_file=await uploaded(client, *lines))
    job = await client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert said in job.error.message
    assert job.fine_tuned_model is None


async def test_create_is_refused_for_a_file_that_is_not_there(client: openai.AsyncOpenAI) -> None:
    """400, and no job."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-none")
    assert refused.value.param == "training_file"


async def test_cancel(client: openai.AsyncOpenAI) -> None:
    """A job that runs can be cancelled, once."""
    job = await client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=await uploaded(client, *[EXAMPLE] * 10)
    )
    assert (await client.fine_tuning.jobs.cancel(job.id)).status == "cancelled"
    assert (await client.fine_tuning.jobs.retrieve(job.id)).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        await client.fine_tuning.jobs.cancel(job.id)


async def test_jobs_are_listed_page_by_page(client: openai.AsyncOpenAI) -> None:
    """Newest first, and filtered by metadata."""
    file_id = await uploaded(client, *[EXAMPLE] * 10)
    made = [
        (
            await client.fine_tuning.jobs.create(
                model="gpt-4o-mini", training_file=file_id, metadata={"run": "pages", "n": str(index)}
            )
        ).id
        for index in range(5)
    ]
    filtered = client.fine_tuning.jobs.list(limit=2, extra_query={"metadata[run]": "pages"})
    assert [job.id async for job in filtered] == made[::-1]


async def test_many_at_once(server: Simulator, client: openai.AsyncOpenAI) -> None:
    """Two hundred calls in flight, each with its own answer."""
    calls = (
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": f"{index}"}], max_tokens=100
        )
        for index in range(200)
    )
    answers = await asyncio.gather(*calls)
    assert len({answer.choices[0].message.content for answer in answers}) == 200
    assert server.books()["failed_by_kind"].get("bad_request", 0) == 0
