"""Talking HTTP to a local server by hand: what a client library would hide, tests want to see."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 120.0  # a model on a busy machine takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A whole reply as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def call(port: int, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Seen:
    """One request on a connection of its own. `body` is sent as it is where it is bytes, else as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, sent, dict(headers or {}))
        reply = connection.getresponse()
        lower = {name.lower(): value for name, value in reply.getheaders()}
        return Seen(status=reply.status, headers=lower, body=reply.read())
    finally:
        connection.close()


def chat_body(text: str = "Plot a film.", **fields: object) -> dict[str, Any]:
    """A small chat request."""
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 60,
        **fields,
    }


def chat(port: int, text: str = "Plot a film.", **fields: object) -> Seen:
    """Ask for a chat completion."""
    return call(port, "POST", "/v1/chat/completions", chat_body(text, **fields))


def raw_request(body: object, path: str = "/v1/chat/completions") -> bytes:
    """The bytes of one POST."""
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n\r\n"
    return head.encode() + sent


def raw_chat(port: int, text: str) -> tuple[bytes, bool]:
    """Send a chat request and read until the connection ends: what came, and whether it ended with a reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(raw_request(chat_body(text)))
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> tuple[bytes, bool]:
    """All that comes until the other side ends the connection, and whether it did so with a reset."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        return received, True
    return received, False
