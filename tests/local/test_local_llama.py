"""Real text from the small model. One server for all tests; few tokens, because two cores are not many."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import openai
import pytest
from tests.support.simulator import Simulator
from tests.support.wire import Seen, call, chat, chat_body, raw_request

pytestmark = pytest.mark.timeout(300)

MODEL = "SmolLM2-135M-Instruct.Q4_1"


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """Two slots, so that a third request has to wait."""
    with Simulator("--slots", "2", "--context", "512", backend="llama") as server:
        yield server


def test_the_answer_is_real_and_says_whose_it_is(server: Simulator) -> None:
    """Whatever model was asked for; usage counts the model's own tokens."""
    assert server.model == MODEL
    answer = chat(server.port, "Say hello.", max_tokens=8, temperature=0).json()
    assert answer["model"] == MODEL
    choice = answer["choices"][0]
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["usage"]["prompt_tokens"] > 8


def test_a_seed_repeats_the_text(server: Simulator) -> None:
    """The request's own seed; without one, the body decides, so that the same body gets the same text."""
    texts = [
        chat(server.port, "Tell me a story.", max_tokens=12, **fields).json()["choices"][0]["message"]["content"]
        for fields in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {}, {})
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] == texts[4]


def test_max_completion_tokens_and_stop_are_honoured(server: Simulator) -> None:
    """On the chat endpoint and on the legacy one."""
    body = {**chat_body("Count: one two three"), "max_completion_tokens": 5, "temperature": 0}
    del body["max_tokens"]
    assert call(server.port, "POST", "/v1/chat/completions", body).json()["usage"]["completion_tokens"] == 5
    legacy = {"model": "x", "prompt": "Once upon a time there was a", "max_tokens": 40, "temperature": 0, "stop": [" "]}
    answer = call(server.port, "POST", "/v1/completions", legacy).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert " " not in answer["choices"][0]["text"]


async def test_the_client_library_understands_it(server: Simulator) -> None:
    """Two choices in one answer, billed with one prompt."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello."}], max_tokens=6, n=2
        )
    assert len(answer.choices) == 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 12


def test_a_prompt_that_is_too_long_is_a_400(server: Simulator) -> None:
    """At once, with the code that says so, and not billed."""
    server.reset_books()
    seen = chat(server.port, "word " * 2000)
    assert seen.status == 400
    assert seen.json()["error"]["code"] == "context_length_exceeded"
    assert server.books()["billed"] == 0


def test_what_the_model_cannot_read_is_a_400(server: Simulator) -> None:
    """The library's complaint becomes the reply."""
    assert chat(server.port, max_tokens=5, response_format={"type": "nonsense"}).status == 400


@pytest.mark.torture
def test_more_requests_than_slots_are_all_answered(server: Simulator) -> None:
    """The others wait their turn; the books count every one."""
    server.reset_books()
    seen: list[Seen] = []
    threads = [
        threading.Thread(target=lambda text=str(index): seen.append(chat(server.port, text, max_tokens=6)))
        for index in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in seen] == [200] * 6
    books = server.books()
    assert books["billed"] == books["delivered"] == 6
    assert books["in_flight_max"] == 6
    assert books["output_tokens"] == sum(reply.json()["usage"]["completion_tokens"] for reply in seen)


def test_a_client_that_leaves_frees_its_slot(server: Simulator) -> None:
    """Its generation is stopped, and not billed."""
    server.reset_books()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(raw_request(chat_body("Write a very long story.", max_tokens=450, ignore_eos=True)))
        while not server.books()["in_flight"]:
            time.sleep(0.005)
    while server.books()["in_flight"]:
        time.sleep(0.005)
    books = server.books()
    assert (books["billed"], books["delivered"]) == (0, 0)
    assert books["failed_by_kind"] == {"abandoned": 1}


def test_the_model_is_listed_beside_those_that_can_be_tuned(server: Simulator) -> None:
    """Fine-tuning is the simulator's, whatever makes the texts."""
    listed = [model["id"] for model in call(server.port, "GET", "/v1/models").json()["data"]]
    assert listed[0] == MODEL
    assert "gpt-4o-mini-2024-07-18" in listed


@pytest.mark.torture
def test_prompts_fit_that_a_recipe_needs() -> None:
    """The default context holds 1,500 tokens of prompt and 500 of answer."""
    with Simulator("--slots", "1", backend="llama") as roomy:
        answer = json.loads(chat(roomy.port, "word " * 1500, max_tokens=4).body)
    assert answer["usage"]["prompt_tokens"] > 1500
