"""The page over real sockets: its policy, who is let in, and its stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.telemetry.samples import COMPLETED, STATISTICS, page_of

from tunemill.model import RunState
from tunemill.telemetry import Address, PageToken, RunMetrics, RunPage, status_server
from tunemill.telemetry.http.page.feed import READERS_MAX

TOKEN = PageToken("correct-horse-battery")
SHOWN = ("/", "/page.css", "/page.js", "/paint.js", "/charts.js", "/answers.js", "/icon.svg", "/status", "/events")
FREE = ("/metrics", "/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Served:
    """A page that is being served, and where."""

    port: int
    page: RunPage

    async def open(self, path: str, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        sent = {"Host": f"localhost:{self.port}", "Connection": "close", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return reader, writer

    async def get(self, path: str, **headers: str) -> Reply:
        """Ask, and read the head and what there is of a body that ends; of a stream, the head alone."""
        reader, writer = await self.open(path, **headers)
        reply = await _head(reader)
        is_stream = reply.headers.get("content-type", "").startswith("text/event-stream")
        body = "" if is_stream else (await reader.read()).decode()
        writer.transport.abort()
        return replace(reply, body=body)


async def _head(reader: asyncio.StreamReader) -> Reply:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, "")


async def _message(reader: asyncio.StreamReader) -> dict[str, Any]:
    while True:
        line = await reader.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            message: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return message


async def _until(is_so: Any) -> None:
    """The limit of time is only there to fail where it would otherwise wait for ever."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110  # the server's own end of a connection has no event for us
            await asyncio.sleep(0.01)


@asynccontextmanager
async def _serving(host: str = "127.0.0.1", token: PageToken | None = None) -> AsyncIterator[Served]:
    page = page_of(STATISTICS)
    server = status_server(
        Address(host, 0),
        statistics=lambda: STATISTICS,
        registry=RunMetrics(lambda: STATISTICS).registry,
        page=page,
        token=token,
    )
    async with server as access:
        yield Served(access.address.port, page)


async def test_nothing_but_its_own_files_can_run_in_the_page() -> None:
    """The policy forbids everything else, inline script and style included, and so does every file of it."""
    async with _serving() as served:
        for path in SHOWN[:-2]:
            reply = await served.get(path)
            assert reply.status == 200
            policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
            assert policy["require-trusted-types-for"] == "'script'"
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "no-referrer"
            assert reply.headers["cross-origin-opener-policy"] == "same-origin"
            assert reply.headers["cross-origin-resource-policy"] == "same-origin"
            assert reply.headers["cache-control"] == "no-store"


async def test_the_page_is_made_of_files_that_are_there() -> None:
    """Every file that it names is served, and nothing is named that is elsewhere."""
    async with _serving() as served:
        page = (await served.get("/")).body
        assert all(f'"{path[1:]}"' in page for path in ("/page.css", "/page.js", "/icon.svg"))
        assert "http" not in page.replace("http-equiv", "")
        assert "<style" not in page
        assert " style=" not in page
        assert " onload" not in page


@pytest.mark.parametrize("path", SHOWN)
async def test_another_name_is_led_nowhere(path: str) -> None:
    """A page from elsewhere whose name was made to lead here reads nothing; figures are anybody's."""
    async with _serving() as served:
        assert (await served.get(path)).status == 200
        assert (await served.get(path, Host="evil.example:80")).status == 421
        for free in FREE:
            assert (await served.get(free, Host="evil.example:80")).status == 200


@pytest.mark.parametrize("path", SHOWN)
async def test_beyond_this_machine_nothing_but_figures_without_a_token(path: str) -> None:
    """The answer says how to set one."""
    async with _serving("0.0.0.0") as served:
        reply = await served.get(path, Authorization="Bearer correct-horse-battery")
        assert reply.status == 403
        assert "TUNEMILL_TOKEN" in reply.body
        for free in FREE:
            assert (await served.get(free)).status == 200


@pytest.mark.parametrize("path", SHOWN)
async def test_with_a_token_everything_shown_asks_for_it(path: str) -> None:
    """As a bearer or as a cookie."""
    async with _serving("0.0.0.0", TOKEN) as served:
        reply = await served.get(path)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert (await served.get(path, Authorization=f"Bearer {TOKEN.text}")).status == 200
        cookie = f"other=1; {TOKEN.cookie_name}={TOKEN.cookie_value}"
        assert (await served.get(path, Cookie=cookie, Host="run.internal")).status == 200


async def test_the_token_in_the_address_becomes_a_cookie() -> None:
    """Which no script can read and no other site can send; the page leads on to an address without the token."""
    async with _serving("0.0.0.0", TOKEN) as served:
        reply = await served.get(f"/?token={TOKEN.text}")
        assert reply.status == 200
        assert TOKEN.text not in reply.body + str(reply.headers)
        assert 'content="0; url=./"' in reply.body
        cookie, *attributes = reply.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
        assert (await served.get("/", Cookie=cookie)).status == 200
        assert (await served.get("/?token=wrong-horse-battery")).status == 401
        assert (await served.get(f"/status?token={TOKEN.text}")).status == 401


async def test_another_sites_page_may_not_listen() -> None:
    """It could read nothing, but take the room of those who may."""
    async with _serving() as served:
        assert (await served.get("/events", Sec_Fetch_Site="cross-site")).status == 403
        assert (await served.get("/events", Sec_Fetch_Site="same-origin")).status == 200


async def test_the_stream_begins_with_the_past_and_goes_on() -> None:
    """A page that is opened late sees what was; then a sample each second, with what arrived meanwhile."""
    async with _serving() as served:
        served.page.on_event(COMPLETED)
        served.page.look()
        reader, writer = await served.open("/events")
        assert (await _head(reader)).headers["content-type"].startswith("text/event-stream")
        whole = await _message(reader)
        assert len(whole["history"]) >= 1
        assert [answer["text"] for answer in whole["answers"]] == [COMPLETED.text]
        assert whole["answers"][0]["prompt"] == "Who did it?"
        served.page.on_event(replace(COMPLETED, text="Or did he?"))
        served.page.look()
        news = await _message(reader)
        while not news["answers"]:
            news = await _message(reader)
        assert [answer["text"] for answer in news["answers"]] == ["Or did he?"]
        assert "history" not in news
        assert news["sample"][1] == pytest.approx(0.412)
        writer.transport.abort()


async def test_who_leaves_is_forgotten() -> None:
    """Nothing of a reader is left once its connection is gone."""
    async with _serving() as served:
        reader, writer = await served.open("/events")
        await _message(reader)
        assert served.page.feed.readers == 1
        writer.transport.abort()
        await _until(lambda: served.page.feed.readers == 0)


async def test_too_many_are_told_to_come_later_and_figures_still_come() -> None:
    """Whoever scrapes is not kept out by those who look."""
    async with _serving() as served:
        listening = [await served.open("/events") for _ in range(READERS_MAX)]
        for reader, _ in listening:
            await _message(reader)
        assert (await served.get("/events")).status == 503
        assert (await served.get("/metrics")).status == 200
        assert (await served.get("/")).status == 200
        for _, writer in listening:
            writer.transport.abort()


async def test_the_end_of_the_process_ends_the_streams() -> None:
    """Each has the last picture, which says that it is the last."""
    async with _serving() as served:
        listening = [await served.open("/events") for _ in range(3)]
        for reader, _ in listening:
            await _message(reader)
    for reader, writer in listening:
        message = await _message(reader)
        while not message["is_over"]:
            message = await _message(reader)
        assert b"data: " not in await reader.read()
        writer.close()


async def test_a_reader_that_hangs_does_not_hold_up_the_end() -> None:
    """It is cut off. The limit of time is only there to fail where it would otherwise wait for ever."""
    async with asyncio.timeout(60):
        async with _serving() as served:
            _, writer = await served.open("/events")
            await _until(lambda: served.page.feed.readers == 1)
            for _ in range(2_000):
                served.page.look()
        writer.transport.abort()


async def test_figures_hold_no_text_of_anybody() -> None:
    """They are free because there is nothing in them but figures and names of the recipe."""
    hostile = "Once upon a time"
    statistics = replace(
        STATISTICS,
        state=RunState.FAILED,
        reason=hostile,
        finished={("outline", hostile): 3},
        attempts={("outline", hostile): 3},
        waiting_for={hostile: 1},
        fine_tune={"status": hostile, "error": hostile},
        dataset={hostile: 1},
    )
    metrics = RunMetrics(lambda: statistics)
    metrics.on_event(replace(COMPLETED, text=hostile, outcome=hostile))
    server = status_server(
        Address("0.0.0.0", 0), statistics=lambda: statistics, registry=metrics.registry, page=page_of(statistics)
    )
    async with server as access:
        served = Served(access.address.port, page_of(statistics))
        for path in FREE:
            assert hostile not in (await served.get(path)).body
