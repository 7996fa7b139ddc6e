"""Each fault as a client meets it, with its entry in the books, and lost and late replies of side effects."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.simulator import Simulator
from tests.support.wire import call, chat, chat_body, raw_chat, raw_request, read_to_end

TEXTS = 16  # enough different bodies that both halves of a seeded half occur


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    """One simulator for all; each test sets its fault."""
    with Simulator() as server:
        yield server


@pytest.fixture
def server(shared: Simulator) -> Iterator[Simulator]:
    """New books, and no fault afterwards."""
    shared.reset_books()
    yield shared
    shared.control(faults={})


def billing(server: Simulator) -> tuple[int, int]:
    """How many were billed, and how many delivered."""
    books = server.books()
    return books["billed"], books["delivered"]


def test_rate_limit_with_retry_after(server: Simulator) -> None:
    """429 with both headers, and nothing billed."""
    server.control(faults={"rate_limit_retry_after": 1})
    seen = chat(server.port)
    assert (seen.status, seen.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 200 <= int(seen.headers["retry-after-ms"]) <= 2000
    assert seen.headers["retry-after"] in ("1", "2")
    assert billing(server) == (0, 0)


def test_rate_limit_without_retry_after(server: Simulator) -> None:
    """429, and the client must know by itself."""
    server.control(faults={"rate_limit_bare": 1})
    seen = chat(server.port)
    assert seen.status == 429
    assert not {"retry-after", "retry-after-ms"} & set(seen.headers)
    assert billing(server) == (0, 0)


def test_server_error(server: Simulator) -> None:
    """500, 502 and 503 as the API's own JSON, and nothing billed."""
    server.control(faults={"server_error": 1})
    seen = [chat(server.port, str(index)) for index in range(TEXTS)]
    assert {reply.status for reply in seen} == {500, 502, 503}
    assert all(reply.json()["error"]["type"] == "server_error" for reply in seen)
    assert billing(server) == (0, 0)
    assert server.books()["failed_by_kind"] == {"server_error": TEXTS}


def test_html_error(server: Simulator) -> None:
    """A gateway's page; behind some of them the answer was produced and billed, behind others not."""
    server.control(faults={"html_error": 1})
    seen = [chat(server.port, str(index)) for index in range(TEXTS)]
    assert all(reply.status == 502 and reply.headers["content-type"] == "text/html" for reply in seen)
    billed, delivered = billing(server)
    assert 0 < billed < TEXTS
    assert delivered == 0


def test_hang(server: Simulator) -> None:
    """Nothing comes, however long one waits; some were billed; the request is over when the client goes."""
    server.control(faults={"hang": 1})
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(TEXTS)]
    for index, connection in enumerate(connections):
        connection.sendall(raw_request(chat_body(str(index))))
    while server.books()["in_flight"] < TEXTS:
        time.sleep(0.005)
    for connection in connections:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.close()
    while server.books()["in_flight"]:
        time.sleep(0.005)
    billed, delivered = billing(server)
    assert 0 < billed < TEXTS
    assert delivered == 0
    assert server.books()["by_status"] == {"hang": TEXTS}


def test_cut_before(server: Simulator) -> None:
    """The connection is reset without a byte, and nothing was billed."""
    server.control(faults={"cut_before": 1})
    assert raw_chat(server.port, "x") == (b"", True)
    assert billing(server) == (0, 0)


def test_cut_after(server: Simulator) -> None:
    """The connection ends without a byte, and the answer was billed."""
    server.control(faults={"cut_after": 1})
    assert raw_chat(server.port, "x") == (b"", False)
    assert billing(server) == (1, 0)


def test_truncated_body(server: Simulator) -> None:
    """Status 200, headers that promise the whole, half a body, then the end: with a length, or in chunks."""
    server.control(faults={"truncated_body": 1})
    framings = set()
    for index in range(TEXTS):
        received, reset = raw_chat(server.port, str(index))
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert not reset
        length = re.search(rb"content-length: (\d+)", head)
        framings.add(length is not None)
        if length is not None:
            assert len(body) == int(length[1]) // 2
        else:
            assert b"transfer-encoding: chunked" in head.lower()
            assert not body.endswith(b"0\r\n\r\n")
        assert b'"usage"' not in body
    assert framings == {True, False}
    assert billing(server) == (TEXTS, 0)


def test_empty_choices(server: Simulator) -> None:
    """Status 200 without a choice; the input was billed."""
    server.control(faults={"empty_choices": 1})
    answer = chat(server.port).json()
    assert answer["choices"] == []
    assert answer["usage"]["completion_tokens"] == 0
    books = server.books()
    assert books["input_tokens"] == answer["usage"]["prompt_tokens"] > 0
    assert books["output_tokens"] == 0
    assert billing(server) == (1, 1)


def test_refusal(server: Simulator) -> None:
    """No content, but a refusal."""
    server.control(faults={"refusal": 1})
    message = chat(server.port).json()["choices"][0]["message"]
    assert message["content"] is None
    assert "assist" in message["refusal"]
    assert billing(server) == (1, 1)


def test_length_and_content_filter(server: Simulator) -> None:
    """The finish reason says why the text is short or missing."""
    whole = chat(server.port).json()["choices"][0]["message"]["content"]
    server.control(faults={"length": 1})
    choice = chat(server.port).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert whole.startswith(choice["message"]["content"])
    assert len(choice["message"]["content"]) < len(whole)
    server.control(faults={"content_filter": 1})
    choice = chat(server.port).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "")


def test_missing_usage(server: Simulator) -> None:
    """Delivered and billed, and the client is not told how much."""
    server.control(faults={"missing_usage": 1})
    assert "usage" not in chat(server.port).json()
    assert billing(server) == (1, 1)
    assert server.books()["output_tokens"] > 0


def test_faults_repeat_with_the_seed_and_change_with_a_retry(server: Simulator) -> None:
    """Two servers meet the same bodies with the same faults; sending one body again gets other draws."""
    rates = {"server_error": 0.3, "refusal": 0.2}
    seen = []
    with Simulator() as other:
        for each in (server, other):
            each.control(faults=rates)
            seen.append([chat(each.port, str(index // 2)).status for index in range(40)])
    assert seen[0] == seen[1]
    assert any(seen[0][index] != seen[0][index + 1] for index in range(0, 40, 2))


def upload(port: int) -> bytes:
    """A multipart upload of a good file, as bytes."""
    example = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    content = "\n".join(json.dumps(example) for _ in range(12))
    parts = (
        '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n'
        f"{content}\r\n--x--\r\n"
    ).encode()
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    return send(port, f"{head}Content-Length: {len(parts)}\r\n\r\n".encode() + parts)


def send(port: int, request: bytes) -> bytes:
    """Send, and return what came when the reply is complete or the connection ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def test_a_lost_reply_to_an_upload_leaves_the_file_there() -> None:
    """As often as was asked for; the list of files is how a client finds out."""
    with Simulator("--lose-reply", "upload=2") as server:
        assert upload(server.port) == b""
        assert upload(server.port) == b""
        assert upload(server.port).startswith(b"HTTP/1.1 200")
        assert len(call(server.port, "GET", "/v1/files").json()["data"]) == 3
        assert server.books()["uploads"] == 3


def test_an_upload_that_is_cut_leaves_nothing_but_a_line_in_the_books(capfd: pytest.CaptureFixture[str]) -> None:
    """No file, no upload and no traceback."""
    with Simulator() as server:
        head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n--b\r\n")
        while not server.books()["failed_by_kind"]:
            time.sleep(0.01)
        assert server.books()["failed_by_kind"] == {"abandoned": 1}
        assert call(server.port, "GET", "/v1/files").json()["data"] == []
        assert server.books()["uploads"] == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_lost_reply_to_create_leaves_the_job_there() -> None:
    """Found by its metadata."""
    with Simulator("--lose-reply", "create=1") as server:
        upload(server.port)
        file_id = call(server.port, "GET", "/v1/files").json()["data"][0]["id"]
        body = {"model": "gpt-4o-mini", "training_file": file_id, "metadata": {"run": "r1"}}
        assert send(server.port, raw_request(body, "/v1/fine_tuning/jobs")) == b""
        listed = call(server.port, "GET", "/v1/fine_tuning/jobs?metadata[run]=r1").json()["data"]
        assert [job["training_file"] for job in listed] == [file_id]
        assert call(server.port, "GET", "/v1/fine_tuning/jobs?metadata[run]=r2").json()["data"] == []
        assert server.books()["jobs_created"] == 1


def test_a_late_reply_comes_after_the_deed() -> None:
    """Between the two a client can be killed: the file is there and nobody was told."""
    with Simulator("--delay", "upload=1.5") as server:
        thread = threading.Thread(target=upload, args=(server.port,))
        thread.start()
        while not server.books()["uploads"]:
            time.sleep(0.005)
        assert len(call(server.port, "GET", "/v1/files").json()["data"]) == 1
        assert thread.is_alive()
        thread.join()


def test_a_pipelined_second_request_is_served(server: Simulator) -> None:
    """Two requests in one segment get two replies, in order."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(raw_request(chat_body("a")) + raw_request(chat_body("b")))
        while server.books()["delivered"] < 2:
            time.sleep(0.005)
        connection.shutdown(socket.SHUT_WR)
        received, _ = read_to_end(connection)
    assert received.count(b"HTTP/1.1 200") == 2
