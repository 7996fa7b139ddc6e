"""The wire: raw ASGI in and out, and what no framework offers, breaking a connection off.

uvicorn's own protocol class is used as it is, except that each request's scope carries its transport. With it a
connection can be closed after the bytes written so far (the client sees an end of file) or reset (the client sees
"connection reset by peer"), at any point of a reply.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from tunemill.local.replies import Reply

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_TRANSPORT = "tunemill.transport"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST


class TransportProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, handing its transport to the application through `scope["state"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


class Wire:
    """One request's connection."""

    __slots__ = ("_receive", "_send", "_transport", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._transport = cast("asyncio.Transport", scope["state"][_TRANSPORT])

    async def body(self) -> bytes | None:
        """The request's whole body; None where the client left before it was complete."""
        message = await self._receive()
        if not message.get("more_body", False):
            return cast("bytes", message["body"]) if message["type"] == "http.request" else None
        parts = [message["body"]]
        while message.get("more_body", False):
            message = await self._receive()
            if message["type"] != "http.request":
                return None
            parts.append(message["body"])
        return b"".join(parts)

    def replay(self, body: bytes) -> Receive:
        """A `receive` for somebody else, who will find the body that was already read here."""
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else await self._receive()

        return receive

    def gone(self) -> bool:
        """Whether the client has closed its end."""
        return self._transport.is_closing()

    async def reply(self, reply: Reply) -> bool:
        """Write the whole reply; whether the client was still there to take it."""
        await self._start(reply)
        delivered = not self.gone()
        await self._send({"type": "http.response.body", "body": reply.body})
        return delivered

    async def reply_half(self, reply: Reply) -> None:
        """Write the headers, which promise the whole body, and half of it; then close."""
        await self._start(reply)
        await self._send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
        await self.close()

    async def reply_half_chunked(self, reply: Reply) -> None:
        """The same with a chunked body, whose last chunk never comes."""
        await self._send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await self._send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
        await self.close()

    async def close(self) -> None:
        """End the connection after what was written so far; the client sees an end of file."""
        self._transport.close()
        await self.wait_gone()

    async def reset(self) -> None:
        """Break the connection off; the client sees a reset."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
        await self.wait_gone()

    async def wait_gone(self) -> None:
        """Return when the connection is closed, by whichever side."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, reply: Reply) -> None:
        headers = (*reply.headers, (b"content-length", b"%d" % len(reply.body)))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
