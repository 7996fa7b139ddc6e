"""The simulator on the wire: replies, refusals, limits, outages and its books, seen without a client library."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.simulator import Simulator
from tests.support.wire import call, chat, chat_body, raw_request, read_to_end


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    """One simulator for all tests that bring their own books."""
    with Simulator() as server:
        yield server


@pytest.fixture
def server(shared: Simulator) -> Iterator[Simulator]:
    """The shared simulator with new books, and its settings put back afterwards."""
    shared.reset_books()
    yield shared
    shared.control(
        requests_per_minute=None,
        tokens_per_minute=None,
        quota_usd=None,
        latency_s=0,
        faults={},
        paused=False,
        refusing=False,
    )


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does on its own; the test's timeout is the limit."""
    while not condition():
        time.sleep(0.005)


def test_an_unknown_address_is_a_json_404(server: Simulator) -> None:
    """As the hosted API says it."""
    seen = call(server.port, "GET", "/v1/nothing")
    assert seen.status == 404
    assert seen.json()["error"]["message"] == "Invalid URL (GET /v1/nothing)"
    assert call(server.port, "GET", "/v1/chat/completions").status == 404
    assert call(server.port, "PATCH", "/v1/files").status == 405


def test_a_wrong_body_is_a_400_and_costs_nothing(server: Simulator) -> None:
    """It was received, and neither admitted nor billed."""
    assert call(server.port, "POST", "/v1/chat/completions", b"{nonsense").status == 400
    books = server.books()
    assert (books["received"], books["admitted"], books["billed"]) == (1, 0, 0)
    assert books["failed_by_kind"] == {"bad_request": 1}
    assert books["by_status"] == {"400": 1}


def test_the_same_body_gets_the_same_answer(server: Simulator) -> None:
    """Byte for byte apart from the time, also from another server with the same seed."""
    with Simulator() as other:
        answers = [chat(port).json() for port in (server.port, server.port, other.port)]
    for answer in answers:
        del answer["created"]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["system_fingerprint"] == "fp_tunemill_simulator"


def test_books_are_exact(server: Simulator) -> None:
    """Three requests, two of them the same: tokens and dollars are the sums of the answers' usage."""
    usages = [chat(server.port, text).json()["usage"] for text in ("a", "b", "b")]
    books = server.books()
    tokens_in = sum(usage["prompt_tokens"] for usage in usages)
    tokens_out = sum(usage["completion_tokens"] for usage in usages)
    assert books["received"] == books["admitted"] == books["billed"] == books["delivered"] == 3
    assert books["billed_twice"] == 1
    assert books["distinct_bodies_billed"] == 2
    assert (books["input_tokens"], books["output_tokens"]) == (tokens_in, tokens_out)
    assert books["picodollars_billed"] == tokens_in * 150_000 + tokens_out * 600_000
    assert sorted(counts["billed"] for counts in server.requests()) == [1, 2]
    assert [counts["billed"] for counts in server.requests(billed_min=2)] == [2]


def test_a_model_without_a_price_is_counted_apart(server: Simulator) -> None:
    """Unknown is not zero: the books say how many answers have no dollars."""
    chat(server.port, model="nobody-knows")
    assert server.books()["unpriced"] == 1
    assert server.books()["usd_billed"] == 0


def test_legacy_completions_answer_every_prompt(server: Simulator) -> None:
    """One choice a prompt."""
    body = {"model": "davinci-002", "prompt": ["a", "b"], "max_tokens": 20}
    answer = call(server.port, "POST", "/v1/completions", body).json()
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] <= 40


def test_the_request_limit_is_enforced_and_announced(server: Simulator) -> None:
    """Two a second: of five at once two are admitted, and the third says which limit and for how long."""
    server.control(requests_per_minute=120)
    seen = [chat(server.port) for _ in range(5)]
    assert [reply.status for reply in seen][:2] == [200, 200]
    assert seen[0].headers["x-ratelimit-limit-requests"] == "120"
    assert seen[0].headers["x-ratelimit-remaining-requests"] == "119"
    refused = next(reply for reply in seen if reply.status == 429)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "requests"
    assert 1 <= int(refused.headers["retry-after-ms"]) <= 500
    assert refused.headers["retry-after"] == "1"
    books = server.books()
    assert books["admitted"] + books["rate_limited"] == 5
    assert books["billed"] == books["admitted"]


def test_models_are_limited_apart(server: Simulator) -> None:
    """As providers count them."""
    server.control(requests_per_minute=6)
    assert [chat(server.port, model=model).status for model in ("gpt-4o", "gpt-4o", "gpt-4.1")] == [200, 429, 200]


def test_the_token_limit_counts_max_tokens(server: Simulator) -> None:
    """Whatever the answer's length turns out to be; what can never fit says so, without a time to wait."""
    server.control(tokens_per_minute=6000)
    assert chat(server.port, max_tokens=5000).status == 200
    refused = chat(server.port, max_tokens=5000)
    assert (refused.status, refused.json()["error"]["type"]) == (429, "tokens")
    never = chat(server.port, max_tokens=7000)
    assert "too large" in never.json()["error"]["message"]
    assert "retry-after" not in never.headers


def test_the_quota_ends_it(server: Simulator) -> None:
    """429, and of the kind that no waiting mends."""
    server.control(quota_usd=0.000001)
    assert chat(server.port).status == 200
    refused = chat(server.port)
    assert refused.status == 429
    assert refused.json()["error"]["code"] == refused.json()["error"]["type"] == "insufficient_quota"


def test_refusing_and_back(server: Simulator) -> None:
    """503 for everything of the API; the books stay readable."""
    server.control(refusing=True)
    assert chat(server.port).status == 503
    assert call(server.port, "GET", "/v1/models").status == 503
    server.control(refusing=False)
    assert chat(server.port).status == 200


def test_a_pause_holds_requests_until_it_ends(server: Simulator) -> None:
    """A request that came in during the pause is answered after it; one whose client left is not."""
    server.control(paused=True)
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=30) as stays, socket.create_connection(address) as leaves:
        stays.sendall(raw_request(chat_body("stays")))
        leaves.sendall(raw_request(chat_body("leaves")))
        until(lambda: server.books()["in_flight"] == 2)
        leaves.close()
        until(lambda: server.books()["in_flight"] == 1)
        server.control(paused=False)
        assert stays.recv(65536).startswith(b"HTTP/1.1 200")
    books = server.books()
    assert books["billed"] == books["delivered"] == 1
    assert books["failed_by_kind"] == {"paused": 1}


def test_a_pause_holds_the_rest_of_the_api_too(server: Simulator) -> None:
    """And serves it afterwards, body and all."""
    server.control(paused=True)
    body = {"model": "gpt-4o-mini", "training_file": "file-none"}
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(raw_request(body, "/v1/fine_tuning/jobs"))
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        server.control(paused=False)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_pays_and_gets_nothing(server: Simulator) -> None:
    """The hosted service bills what it produced, whoever is still there."""
    server.control(latency_s=0.2)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(raw_request(chat_body("leaves")))
        until(lambda: server.books()["in_flight"] == 1)
    until(lambda: server.books()["in_flight"] == 0)
    books = server.books()
    assert (books["billed"], books["delivered"]) == (1, 0)
    assert books["by_status"] == {"abandoned": 1}


def test_requests_on_one_connection_follow_each_other(server: Simulator) -> None:
    """Keep-alive: the connection serves until the client is done."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.connect()
    used = connection.sock
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", json.dumps(chat_body()))
        assert json.load(connection.getresponse())["object"] == "chat.completion"
    assert connection.sock is used
    connection.close()
    assert server.books()["delivered"] == 3


def test_in_flight_is_counted(server: Simulator) -> None:
    """Ten at once are ten in flight, and none afterwards."""
    server.control(latency_s=0.3)
    threads = [threading.Thread(target=chat, args=(server.port, str(index))) for index in range(10)]
    for thread in threads:
        thread.start()
    until(lambda: server.books()["in_flight"] == 10)
    for thread in threads:
        thread.join()
    books = server.books()
    assert (books["in_flight"], books["in_flight_max"]) == (0, 10)
    assert books["last_at"] >= books["first_at"]


def test_arrivals_are_counted_by_second(server: Simulator) -> None:
    """Every request is in one second's count, and the first one is in the first."""
    for index in range(5):
        chat(server.port, str(index))
    arrivals = json.loads(call(server.port, "GET", "/books/arrivals").body)
    assert arrivals[0] >= 1
    assert sum(arrivals) == server.books()["received"] == 5


@pytest.mark.parametrize(
    "changes", [{"nonsense": 1}, {"latency_s": -1}, {"paused": "yes"}, {"faults": {"bang": 1}}, {"faults": 3}]
)
def test_a_wrong_control_is_refused_and_changes_nothing(server: Simulator, changes: dict[str, object]) -> None:
    """With a message that names it."""
    seen = call(server.port, "POST", "/control", {"latency_s": 9, **changes})
    assert seen.status == 400
    assert server.control()["latency_s"] == 0


def test_a_large_body_is_read_whole(server: Simulator) -> None:
    """Bodies arrive in many pieces."""
    assert chat(server.port, "x" * 1_000_000).json()["usage"]["prompt_tokens"] == 250_000 + 7


def test_an_old_reset_shows_the_old_books(server: Simulator) -> None:
    """The totals are shown for the last time, and the new books are empty."""
    chat(server.port)
    assert server.reset_books()["received"] == 1
    assert server.books()["received"] == 0
    assert list(server.requests()) == []


def test_only_the_key_and_only_the_models_that_were_named() -> None:
    """401 without the key, which no message repeats; 404 for any other model; dates in the list of models."""
    with Simulator("--api-key", "secret-1", "--models", "a,b", "--shutdown-date", "b=2027-01-14") as strict:
        assert strict.model == "a"
        for headers in ({}, {"Authorization": "Bearer secret-2"}):
            seen = call(strict.port, "POST", "/v1/chat/completions", chat_body(model="a"), headers=headers)
            assert (seen.status, seen.json()["error"]["code"]) == (401, "invalid_api_key")
            assert b"secret" not in seen.body
        assert call(strict.port, "GET", "/v1/models").status == 401
        key = {"Authorization": "Bearer secret-1"}
        seen = call(strict.port, "POST", "/v1/chat/completions", chat_body(model="c"), headers=key)
        assert (seen.status, seen.json()["error"]["code"]) == (404, "model_not_found")
        assert call(strict.port, "POST", "/v1/chat/completions", chat_body(model="a"), headers=key).status == 200
        listed = call(strict.port, "GET", "/v1/models", headers=key).json()["data"]
        assert [(model["id"], model.get("shutdown_date")) for model in listed] == [("a", None), ("b", "2027-01-14")]
        assert call(strict.port, "GET", "/v1/models/c", headers=key).status == 404


def test_latency_is_drawn_and_not_fixed_with_a_sigma() -> None:
    """The body and the draw decide, so that the same request takes another time when it is sent again."""
    with Simulator("--latency-s", "0.01", "--latency-sigma", "1") as slow:
        assert [chat(slow.port, str(index)).status for index in range(5)] == [200] * 5


def test_reading_ends_with_the_connection(server: Simulator) -> None:
    """A client that asks for `Connection: close` gets its reply and the end."""
    body = json.dumps(chat_body()).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        received, reset = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 200")
    assert not reset
    assert server.books()["delivered"] == 1
