"""Connections are used again while they are good, the one that was used last first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from tunemill.client import exchange as module
from tunemill.client.exchange import Exchange, Route

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Answers everybody; `served` counts the requests of each connection, in the order in which they were made."""

    def __init__(self) -> None:
        self.served: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.unasked = b""  # what it says after each answer although nobody asked
        self.is_closing = False  # each connection after its answer
        self.arrived = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.served)
        self.served.append(0)
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not (self.is_closing and self.served[number]):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                self.served[number] += 1
                self.arrived.release()
                await self.may_answer.wait()
                writer.write(ANSWER)
                await writer.drain()
                if self.unasked:
                    await asyncio.sleep(0)
                    writer.write(self.unasked)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def calling() -> AsyncIterator[tuple[Server, Exchange, Route]]:
    serving = Server()
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    exchange = Exchange(connections=0, connect_s=10.0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions")
    async with server:
        try:
            yield serving, exchange, exchange.route(url, CIMultiDict(), None)
        finally:
            await exchange.aclose()
            await asyncio.gather(*serving.tasks)


def is_good(connection: Connection) -> bool:
    protocol = connection.protocol
    assert protocol is not None
    return protocol.is_connected() and not protocol.should_close


async def until_heard(route: Route) -> None:
    """What the server did to the connections that are idle has come through."""
    async with asyncio.timeout(10.0):
        while route.idle and all(is_good(connection) for connection, _ in route.idle):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.001)


async def test_one_after_the_other_on_one_connection() -> None:
    """And another route to the same place uses it, too."""
    async with calling() as (server, exchange, route):
        for _ in range(3):
            assert (await exchange.post(route, b"{}")).body == b"{}"
        again = exchange.route(route.request.url, CIMultiDict(), None)
        assert (await exchange.post(again, b"{}")).status == 200
        assert server.served == [4]


async def test_what_was_used_last_is_used_next() -> None:
    """So many connections as there were calls at once; later calls leave the others alone."""
    async with calling() as (server, exchange, route):
        server.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(exchange.post(route, b"{}"))
            for _ in range(3):
                await server.arrived.acquire()
            server.may_answer.set()
        for _ in range(5):
            await exchange.post(route, b"{}")
        assert sorted(server.served) == [1, 1, 6]


async def test_what_was_not_used_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call gets a new connection."""
    async with calling() as (server, exchange, route):
        await exchange.post(route, b"{}")
        monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.0)
        await exchange.post(route, b"{}")
        assert server.served == [1, 1]


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """Whoever calls next does not notice."""
    async with calling() as (server, exchange, route):
        server.is_closing = True
        await exchange.post(route, b"{}")
        await until_heard(route)
        assert (await exchange.post(route, b"{}")).status == 200
        assert server.served == [1, 1]


async def test_what_is_said_unasked_is_no_answer() -> None:
    """It is of nobody's request: the connection is given up."""
    async with calling() as (server, exchange, route):
        server.unasked = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
        await exchange.post(route, b"{}")
        await until_heard(route)
        assert (await exchange.post(route, b"{}")).body == b"{}"
        assert server.served == [1, 1]
