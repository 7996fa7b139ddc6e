"""The client of the completion endpoints, on a real wire: the embedded server with its faults, and sockets that say
exactly what a test wants them to say.

Every test is done twice: for a client's first request, which the SDK makes, and for a later one, which repeats it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import openai
import orjson
import pytest
from multidict import CIMultiDict
from tests.support.clock import ManualClock
from tests.support.simulator import Simulator
from yarl import URL

from tunemill.client.completions import CompletionsClient
from tunemill.client.exchange import Exchange
from tunemill.client.repeated import AFRESH_S, RepeatedPost
from tunemill.clock import SystemClock
from tunemill.model import Delivered, Failure, FailureKind, Lane, Reply, Request, Undelivered

KEY = "sk-test-0123456789abcdef"
BODY = orjson.dumps({"model": "sim", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 50})


class Client:
    """A client; `is_repeating` lets another request of the same kind go before the first one that counts. Without a
    limit to its connections (0), as runs have it, it keeps them itself."""

    is_repeating = False
    connections = 4
    forget: Callable[[], object] = staticmethod(lambda: None)  # what the server has of it

    def __init__(self, base_url: str, key: str) -> None:
        self.client = CompletionsClient(
            base_url=base_url, api_key=key, connections=self.connections, clock=SystemClock()
        )
        self._is_first = True

    async def send(self, request: Request, timeout_s: float) -> Reply:
        if self._is_first and self.is_repeating:
            await self.client.send(request, timeout_s)
            self.forget()
        self._is_first = False
        return await self.client.send(request, timeout_s)


@contextlib.asynccontextmanager
async def connected(base_url: str, *, key: str = KEY) -> AsyncIterator[Client]:
    client = Client(base_url, key)
    try:
        yield client
    finally:
        await client.client.aclose()


@pytest.fixture(autouse=True, params=[False, True], ids=["first", "repeated"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "is_repeating", request.param)
    monkeypatch.setattr(Client, "connections", 0 if request.param else 4)


def request(body: bytes = BODY, path: str = "/chat/completions") -> Request:
    return Request(
        id="0" * 32,
        row_id="1" * 32,
        step="plot",
        sample=0,
        lane=Lane("", "sim"),
        path=path,
        body=body,
        input_tokens_max=200,
        output_tokens_max=50,
    )


def failure(reply: Reply) -> Failure:
    """The failure, which tells nothing that is secret or not for people."""
    assert isinstance(reply, Undelivered), reply
    said = reply.failure.message
    assert said
    assert KEY not in said
    assert "\n" not in said
    assert len(said) <= 400
    return reply.failure


# -- the embedded server ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--api-key", KEY, "--models", "sim") as server:
        yield server


@pytest.fixture
def server(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The one simulator, without faults and with new books."""
    monkeypatch.setattr(Client, "forget", staticmethod(simulator.reset_books))
    simulator.control(faults={}, refusing=False)
    simulator.reset_books()
    yield simulator
    simulator.control(faults={}, refusing=False)


async def test_an_answer_comes_as_it_was_sent(server: Simulator) -> None:
    """The raw body, valid JSON, with the provider's id."""
    async with connected(server.base_url) as client:
        reply = await client.send(request(), 30.0)
    assert isinstance(reply, Delivered)
    assert orjson.loads(reply.body)["choices"][0]["message"]["content"]
    assert reply.completion.provider_request_id is not None
    assert server.books()["billed"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "may_be_billed"),
    [
        ("rate_limit_retry_after", FailureKind.RATE_LIMITED, False),
        ("rate_limit_bare", FailureKind.RATE_LIMITED, False),
        ("html_error", FailureKind.GATEWAY_ERROR, True),
        ("hang", FailureKind.TIMEOUT, True),
        ("cut_before", FailureKind.DISCONNECTED, True),
        ("cut_after", FailureKind.DISCONNECTED, True),
        ("truncated_body", FailureKind.DISCONNECTED, True),
    ],
)
async def test_every_fault_has_its_class_and_says_what_it_may_cost(
    server: Simulator, fault: str, kind: FailureKind, may_be_billed: bool
) -> None:
    """What may have been billed without our seeing the answer is said to be so; nothing else is."""
    server.control(faults={fault: 1})
    async with connected(server.base_url) as client:
        reply = await client.send(request(), 0.7 if fault == "hang" else 30.0)
    failed = failure(reply)
    assert (failed.kind, failed.may_be_billed) == (kind, may_be_billed)
    assert may_be_billed or server.books()["billed"] == 0
    assert (failed.retry_after_s is not None) == (fault == "rate_limit_retry_after")


async def test_the_providers_own_errors_are_not_billed(server: Simulator) -> None:
    """500, 502 and 503 with a JSON error are the provider's word that nothing was produced."""
    server.control(faults={"server_error": 1})
    async with connected(server.base_url) as client:
        for number in range(6):
            body = BODY.replace(b"something", b"something %d" % number)
            failed = failure(await client.send(request(body), 30.0))
            assert failed.kind in {FailureKind.SERVER_ERROR, FailureKind.OVERLOADED}
            assert not failed.may_be_billed
    assert server.books()["billed"] == 0


@pytest.mark.parametrize("fault", ["empty_choices", "refusal", "length", "content_filter", "missing_usage"])
async def test_a_paid_answer_is_delivered_whatever_is_in_it(server: Simulator, fault: str) -> None:
    """An empty, refused or cut-off answer is a completion."""
    server.control(faults={fault: 1})
    async with connected(server.base_url) as client:
        reply = await client.send(request(), 30.0)
    assert isinstance(reply, Delivered)
    assert server.books()["delivered"] == 1


async def test_a_wrong_key_stops_and_is_not_repeated(server: Simulator) -> None:
    """401, not billed; neither the wrong key nor the right one is in the message."""
    wrong = "sk-wrong-fedcba9876543210"
    async with connected(server.base_url, key=wrong) as client:
        failed = failure(await client.send(request(), 30.0))
    assert (failed.kind, failed.may_be_billed, failed.status) == (FailureKind.BAD_KEY, False, 401)
    assert wrong not in failed.message


async def test_an_unknown_model_stops(server: Simulator) -> None:
    """404, not billed, with what the provider says of it."""
    async with connected(server.base_url) as client:
        failed = failure(await client.send(request(BODY.replace(b'"sim"', b'"gone"')), 30.0))
    assert (failed.kind, failed.may_be_billed) == (FailureKind.MODEL_UNKNOWN, False)
    assert "gone" in failed.message


async def test_a_bad_request_is_this_requests_own(server: Simulator) -> None:
    """400, not billed: it will never work."""
    async with connected(server.base_url) as client:
        failed = failure(await client.send(request(b'{"model":"sim","messages":"no list"}'), 30.0))
    assert (failed.kind, failed.may_be_billed) == (FailureKind.BAD_REQUEST, False)


async def test_the_deadline_is_ours(server: Simulator) -> None:
    """A server that says nothing is left after our time, and what it may have done stays in doubt."""
    server.control(latency_s=30.0)
    try:
        async with connected(server.base_url) as client:
            failed = failure(await client.send(request(), 0.2))
    finally:
        server.control(latency_s=0.0)
    assert (failed.kind, failed.may_be_billed) == (FailureKind.TIMEOUT, True)
    assert "0.2 s" in failed.message


# -- sockets that say what a test wants ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def saying(reply: bytes, *, after: int = 1) -> AsyncIterator[str]:
    """A server that reads `after` requests on a connection, sends these bytes as they are, and closes. Its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(after):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(int(length))
            writer.write(reply)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def http(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


ANSWER = b'{"id":"c","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


async def test_nobody_there_is_not_billed() -> None:
    """A refused connection: nothing was sent."""
    async with connected("http://127.0.0.1:1/v1") as client:
        failed = failure(await client.send(request(), 10.0))
    assert (failed.kind, failed.may_be_billed) == (FailureKind.NOT_CONNECTED, False)
    assert failed.message.endswith(", connecting to 127.0.0.1:1")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
        b"this is no HTTP at all\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1000\r\n\r\n<html>",
    ],
    ids=[
        "cut",
        "long head",
        "wrong head",
        "half a head",
        "half a body",
        "half a chunk",
        "no gzip",
        "no HTTP",
        "half an error",
    ],
)
async def test_a_connection_that_breaks_after_sending_may_have_been_billed(reply: bytes) -> None:
    """The server had the whole request: whatever then goes wrong on the wire, it may have done the work."""
    async with saying(reply) as base_url, connected(base_url) as client:
        failed = failure(await client.send(request(), 10.0))
    assert failed.may_be_billed
    assert failed.kind in {FailureKind.DISCONNECTED, FailureKind.GATEWAY_ERROR}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>welcome</html>", b"[]", b'"text"', b"null", b'{"choices":[', b'{"error":{"message":"no"}}', b"\xff"],
)
async def test_a_success_without_a_completion_is_a_bad_reply(body: bytes) -> None:
    """Status 200 with something else in it may have been billed, and is not kept as an answer."""
    async with saying(http("200 OK", body)) as base_url, connected(base_url) as client:
        failed = failure(await client.send(request(), 10.0))
    assert (failed.kind, failed.may_be_billed) == (FailureKind.BAD_REPLY, True)


async def test_an_odd_answer_is_kept_as_it_is() -> None:
    """Any JSON object that is not an error is an answer: what is wrong with it is for the cleaning rules."""
    for body in (b"{}", b'{"choices":null}', ANSWER, b'{\n  "choices": []\n}'):
        async with saying(http("200 OK", body)) as base_url, connected(base_url) as client:
            reply = await client.send(request(), 10.0)
        assert isinstance(reply, Delivered)
        assert reply.body == body


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb"half \ud83d of it", rb"half \ufffd of it"),
        (rb"\udc00\ud83d", rb"\ufffd\ufffd"),
        (rb"\ud83d\ude00 and \ud83d\ud83d\ude00", rb"\ud83d\ude00 and \ufffd\ud83d\ude00"),
        (rb"\\ud83d \\\ud83d", rb"\\ud83d \\\ufffd"),
        (b"half \xf0\x9f\x98 of it", "half \ufffd of it".encode()),
    ],
)
async def test_an_answer_with_half_a_character_is_kept_with_a_mark_in_its_place(sent: bytes, kept: bytes) -> None:
    """A server that cuts a text in the middle of an emoji was paid for the rest of it, too."""
    body = b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}'
    async with saying(http("200 OK", body % sent)) as base_url, connected(base_url) as client:
        reply = await client.send(request(), 10.0)
    assert isinstance(reply, Delivered)
    assert reply.body == body % kept
    assert reply.completion.text == orjson.loads(b'"%b"' % kept)


async def test_a_redirect_is_not_followed() -> None:
    """The key is not carried to where somebody else points."""
    moved = http("302 Found", b"", b"Location: http://127.0.0.1:1/elsewhere")
    async with saying(moved) as base_url, connected(base_url) as client:
        failed = failure(await client.send(request(), 10.0))
    assert (failed.kind, failed.status) == (FailureKind.MODEL_UNKNOWN, 302)


async def test_an_error_that_repeats_the_key_is_told_without_it() -> None:
    """A provider that quotes the key does not get it into our journal."""
    body = orjson.dumps({"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}})
    async with saying(http("401 Unauthorized", body)) as base_url, connected(base_url) as client:
        failed = failure(await client.send(request(), 10.0))
    assert failed.kind is FailureKind.BAD_KEY
    assert "[key]" in failed.message


async def test_headers_that_are_no_text_do_no_harm() -> None:
    """Bytes above 127 in headers still give an id that can be written down, and limits that are not known."""
    odd = http("200 OK", ANSWER, b"x-request-id: req-\xff\xfe", b"x-ratelimit-limit-requests: \xff")
    async with saying(odd) as base_url, connected(base_url) as client:
        reply = await client.send(request(), 10.0)
    assert isinstance(reply, Delivered)
    orjson.dumps(reply.completion.provider_request_id)
    assert reply.hints.requests_per_minute is None


async def test_being_cancelled_is_not_swallowed(server: Simulator) -> None:
    """Cancelling a send cancels it: no value is made of that."""
    server.control(latency_s=30.0)
    try:
        async with connected(server.base_url) as client:
            task = asyncio.create_task(client.send(request(), 60.0))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    finally:
        server.control(latency_s=0.0)


# -- what is repeated ------------------------------------------------------------------------------------------------


def headers_of(heads: list[bytes]) -> list[dict[bytes, bytes]]:
    """Of each request: its headers by name in lower case."""
    lines = [[line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line] for head in heads]
    return [{name.lower(): value for name, value in of_one} for of_one in lines]


@contextlib.asynccontextmanager
async def hearing() -> AsyncIterator[tuple[str, list[bytes], list[bytes]]]:
    """A server that answers everybody the same. Its base URL, and the heads and bodies that it heard."""
    heads: list[bytes] = []
    bodies: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not ended.is_set():
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                bodies.append(await reader.readexactly(int(headers_of(heads[-1:])[0][b"content-length"])))
                cookie = b"Set-Cookie: a=b\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (cookie, len(ANSWER), ANSWER))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heads, bodies
        ended.set()


async def test_a_repeated_request_is_the_sdks_with_another_body() -> None:
    """Address, key and every header that is not of one body or of one connection; the body as it is, to the byte."""
    sent = [BODY, BODY.replace(b"something", "schöner".encode()), b'{"model": "sim",  "x": 1.0}']
    async with hearing() as (base_url, heads, bodies), connected(base_url) as client:
        for body in sent:
            assert isinstance(await client.send(request(body), 10.0), Delivered)
    assert bodies[-3:] == sent
    first, *others = headers_of(heads)
    of_one = {b"content-length", b"idempotency-key", b"connection", b"accept-encoding", b"x-stainless-read-timeout"}
    assert first[b"authorization"] == f"Bearer {KEY}".encode()
    assert b"openai" in first[b"user-agent"].lower()
    for other in others:
        assert {name: of for name, of in other.items() if name not in of_one} == {
            name: of for name, of in first.items() if name not in of_one
        }
        assert b"idempotency-key" not in other
        assert b"cookie" not in other
    assert {head.split(b"\r\n")[0] for head in heads} == {b"POST /v1/chat/completions HTTP/1.1"}


async def test_each_kind_of_call_has_its_own_address() -> None:
    """The legacy endpoint is another path."""
    async with hearing() as (base_url, heads, _), connected(base_url) as client:
        for _ in range(2):
            for path in ("/chat/completions", "/completions"):
                await client.send(request(path=path), 10.0)
    assert [head.split(b" ")[1] for head in heads][-4:] == [b"/v1/chat/completions", b"/v1/completions"] * 2


async def test_the_sdk_is_asked_afresh_now_and_then() -> None:
    """A key that is renewed under its hands gets through to the requests."""
    clock = ManualClock()
    async with hearing() as (base_url, heads, _):
        client = CompletionsClient(base_url=base_url, api_key="old", connections=4, clock=clock)
        await client.send(request(), 10.0)
        client._post._sdk.api_key = "new"
        await client.send(request(), 10.0)
        clock.advance(AFRESH_S + 1)
        await client.send(request(), 10.0)
        await client.send(request(), 10.0)
        await client.aclose()
    assert [head[b"authorization"] for head in headers_of(heads)] == [b"Bearer old"] * 2 + [b"Bearer new"] * 2


async def test_the_pool_is_as_large_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand requests at once share so many connections."""
    monkeypatch.setattr(Client, "connections", 4)
    async with hearing() as (base_url, _, bodies), connected(base_url) as client:
        await client.send(request(), 10.0)
        replies = await asyncio.gather(*(client.send(request(), 30.0) for _ in range(200)))
        assert all(isinstance(reply, Delivered) for reply in replies)
        assert client.client._post._exchange.connections_max == 4
    assert len(bodies) >= 201


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the first request as for the others; and not where no_proxy names the host."""
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    async with hearing() as (base_url, heads, _):
        monkeypatch.setenv("http_proxy", base_url.removesuffix("/v1"))
        async with connected("http://provider.invalid/v1") as client:
            for _ in range(2):
                assert isinstance(await client.send(request(), 10.0), Delivered)
        assert {head.split(b"\r\n")[0] for head in heads} == {
            b"POST http://provider.invalid/v1/chat/completions HTTP/1.1"
        }
        heads.clear()
        monkeypatch.setenv("http_proxy", "127.0.0.1:1")
        async with connected(base_url) as client:
            for _ in range(2):
                assert isinstance(await client.send(request(), 10.0), Delivered)


async def test_an_azure_deployment_is_repeated_at_its_own_address() -> None:
    """The SDK's Azure client finds address, version and `api-key`; what is repeated goes there with the same."""
    async with hearing() as (base_url, heads, bodies):
        post = RepeatedPost(
            base_url=base_url.removesuffix("/v1") + "/openai",
            api_key=KEY,
            connections=4,
            connect_s=10.0,
            clock=SystemClock(),
            make_sdk=partial(openai.AsyncAzureOpenAI, api_version="2024-10-21", azure_deployment="plots"),
        )
        for _ in range(3):
            assert (await post.post("/chat/completions", "plots", BODY)).status == 200
        await post.aclose()
    first, *others = headers_of(heads)
    assert len({head.split(b"\r\n")[0] for head in heads}) == 1
    assert heads[0].split(b"\r\n")[0].endswith(b"?api-version=2024-10-21 HTTP/1.1")
    assert first[b"api-key"] == KEY.encode()
    assert all(other[b"api-key"] == KEY.encode() for other in others)
    assert bodies == [BODY] * 3


async def test_a_path_in_the_base_url_is_kept() -> None:
    """A gateway that lives below a path of its own, with or without a slash at its end."""
    async with hearing() as (base_url, heads, _):
        for end in ("", "/"):
            async with connected(base_url.removesuffix("/v1") + "/gate way/openai" + end) as client:
                for _ in range(2):
                    assert isinstance(await client.send(request(), 10.0), Delivered)
    assert {head.split(b"\r\n")[0] for head in heads} == {b"POST /gate%20way/openai/chat/completions HTTP/1.1"}


async def test_a_server_that_answers_before_it_has_read_everything_gets_a_new_connection() -> None:
    """Otherwise the rest of one body would be read as the beginning of the next request."""
    ended = asyncio.Event()
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        head = await reader.readuntil(b"\r\n\r\n")
        if len(serving) > 1:
            await reader.readexactly(int(headers_of([head])[0][b"content-length"]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    exchange = Exchange(connections=1, connect_s=10.0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions")
    route = exchange.route(url, CIMultiDict(), None)
    large = b" " * 50_000_000  # more than the buffers between two sockets hold
    assert (await exchange.post(route, large)).status == 200
    assert (await exchange.post(route, BODY)).status == 200
    await exchange.aclose()
    ended.set()
    await asyncio.gather(*serving)
    server.close()
    assert len(serving) == 2


async def test_what_says_that_it_goes_on_is_no_answer() -> None:
    """An informational reply comes before the real one."""
    replies = b"HTTP/1.1 102 Processing\r\n\r\n" + http("200 OK", ANSWER)
    async with saying(replies) as base_url, connected(base_url) as client:
        assert isinstance(await client.send(request(), 10.0), Delivered)
