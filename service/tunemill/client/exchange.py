"""POST after POST to the same place, over aiohttp's connections and through its parser, but without its session.

aiohttp's session builds a request, a response and a task for each call out of a hundred options; that is half of what a
call costs, and two thirds of it on uvloop. What it keeps well is kept: addresses, TLS, proxies, making connections
(`TCPConnector`) and the parser in C (`ResponseHandler`). A `Route` holds what all calls of a kind have in common, with
the head already written, and the connections that nobody uses at the moment: the one that was used last is used next,
with its parser as it stands.

These two classes of aiohttp are hardly documented, so that what is relied on is all in this file: `connect` gives a
connection for a `ClientRequest`, its protocol reads one message after the other, each with its payload, and knows
whether it may be used again (`should_close`); `release` puts it back, `close` ends it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from tunemill.client.trust import context_for
from tunemill.frozen import quickly_made

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey

KEEP_ALIVE_S = 60.0


@quickly_made
@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. Names of headers are found in whatever case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls of a kind go. `head` is all that stands before the length of the body; None where it is written anew
    for each, as what goes through a proxy unencrypted carries headers for the proxy. `idle` are connections to there
    with the time since when, the oldest first. Where their number is limited, and through a proxy, aiohttp keeps them.
    """

    request: aiohttp.ClientRequest
    head: bytes | None
    idle: deque[tuple[Connection, float]]


class Exchange:
    """A pool of at most so many connections, and calls over them. Used within one event loop."""

    __slots__ = ("_connector", "_idle", "_timeout")

    def __init__(self, *, connections: int, connect_s: float) -> None:
        self._connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_S)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._idle: dict[ConnectionKey, deque[tuple[Connection, float]]] = {}

    @property
    def connections_max(self) -> int:
        """How large the pool may become."""
        return self._connector.limit

    async def aclose(self) -> None:
        """Close the connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop()[0].release()  # whoever closes them waits until they are closed
        await self._connector.close()

    def route(self, url: URL, headers: CIMultiDict[str], proxy: URL | None) -> Route:
        """For calls to this address with these headers; aiohttp adds which encodings it can read."""
        request = aiohttp.ClientRequest(
            "POST",
            url,
            headers=headers,
            proxy=proxy,
            ssl=context_for(url, proxy),
            loop=asyncio.get_running_loop(),
        )
        head = None if proxy is not None and url.scheme == "http" else _head(request)
        return Route(request, head, self._idle.setdefault(request.connection_key, deque()))

    async def post(self, route: Route, body: bytes) -> Response:
        """The response, whatever its status. Raises aiohttp.ClientError."""
        connection = _used_last(route.idle) or await self._connected(route)
        try:
            response = await _answered(connection, route.head or _head(route.request), body)
        except BaseException:
            connection.close()
            raise
        # Whoever answers before everything was sent would take the rest for the next request.
        if connection.transport is None or connection.transport.get_write_buffer_size():
            connection.close()
        elif self._connector.limit or route.request.proxy is not None:
            connection.release()  # somebody may be waiting there for it
        else:
            _keep(connection, route.idle)
        return response

    async def _connected(self, route: Route) -> Connection:
        """A new connection, or one that aiohttp kept."""
        try:
            connection = await self._connector.connect(route.request, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {route.request.url.origin()}") from error
        assert connection.protocol is not None
        connection.protocol.set_response_params(read_until_eof=True)
        return connection


def _used_last(idle: deque[tuple[Connection, float]]) -> Connection | None:
    """The connection that was used last, if it is still good; what is not is closed."""
    now = time.monotonic()
    while idle:
        connection, since = idle.pop()
        protocol = connection.protocol
        assert protocol is not None
        # What was said while nobody had asked anything would be taken for the next answer.
        if now - since <= KEEP_ALIVE_S and protocol.is_connected() and not protocol.should_close:
            return connection
        connection.close()
    return None


def _keep(connection: Connection, idle: deque[tuple[Connection, float]]) -> None:
    """For the next call, if the server has not said that it is the last. What was not used for long is closed."""
    if connection.protocol is None or connection.protocol.should_close:
        connection.close()
        return
    now = time.monotonic()
    idle.append((connection, now))
    while now - idle[0][1] > KEEP_ALIVE_S:
        idle.popleft()[0].close()


async def _answered(connection: Connection, head: bytes, body: bytes) -> Response:
    protocol = connection.protocol
    assert protocol is not None
    if protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
    try:
        message, payload = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, payload = await protocol.read()
        # Most answers come in one piece with their head.
        whole = payload.read_nowait() if payload.is_eof() else await payload.read()
        return Response(message.code, message.headers, whole)
    except HttpProcessingError as error:
        raise aiohttp.ClientPayloadError(f"what came is no HTTP: {error.message}") from error


def _head(request: aiohttp.ClientRequest) -> bytes:
    """The request line and the headers, up to the value of the last one, which is the length of the body."""
    is_proxied = request.proxy is not None and request.url.scheme == "http"
    target = str(request.url) if is_proxied else request.url.raw_path_qs
    lines = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
    assert not any("\r" in line or "\n" in line for line in (target, *lines)), "a header with a line break in it"
    return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "content-length: "]).encode()
