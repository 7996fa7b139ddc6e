"""A real HTTP server on loopback whose every reply a test decides, and one that stands before another server and spoils
what passes through. Standard library only; runs in threads of the test's own process."""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came. `path` begins with /v1 and has no query; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A reply to be sent."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Cut:
    """The connection is closed without a reply."""


@dataclass(frozen=True, slots=True)
class Hang:
    """No reply for so many seconds, and then none."""

    seconds: float


Rule: TypeAlias = Callable[[Asked], Answered | Cut | Hang]


def said(value: object, status: int = 200, **headers: str) -> Answered:
    """A JSON reply. Underscores in the names of headers stand for hyphens."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answered(status=status, body=json.dumps(value).encode(), headers=named)


def refusal(status: int, message: str, code: str = "invalid_request") -> Answered:
    """An error in the API's own words."""
    return said({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is what many tests are about; anything else is a fault of the test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class WireServer:
    """Answers by `rule`, which may be replaced at any time, and remembers what was asked."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.asked: list[Asked] = []
        self._server = _Listener(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def count(self, method: str, path: str) -> int:
        """How often something was asked for."""
        return sum(asked.method == method and asked.path == path for asked in self.asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def forward(asked: Asked, base_url: str) -> Answered:
    """What another server answers to it."""
    query = "&".join(f"{name}={text}" for name, text in asked.query.items())
    url = base_url.removesuffix("/v1") + asked.path + (f"?{query}" if query else "")
    kept = {name: text for name, text in asked.headers.items() if name in {"content-type", "authorization"}}
    request = urllib.request.Request(url, asked.body or None, kept, method=asked.method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return _copied(reply.status, reply.headers.get_content_type(), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return _copied(error.code, error.headers.get_content_type(), error.read())


def _copied(status: int, content_type: str, body: bytes) -> Answered:
    return Answered(status=status, body=body, headers={"Content-Type": content_type})


def _handler_of(server: WireServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *args: object) -> None:
            del args

        def _answer(self) -> None:
            asked = self._read()
            server.asked.append(asked)
            answer = server.rule(asked)
            if isinstance(answer, Hang):
                time.sleep(answer.seconds)
            if not isinstance(answer, Answered):
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, text in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def _read(self) -> Asked:
            url = urlsplit(self.path)
            return Asked(
                method=self.command,
                path=url.path,
                query={name: texts[-1] for name, texts in parse_qs(url.query).items()},
                headers={name.lower(): text for name, text in self.headers.items()},
                body=self._body(),
            )

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pieces = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

    return Handler
