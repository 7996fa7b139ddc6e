"""A webhook on loopback that does what the test tells it to: `with Receiver() as there:`. Keeps what it was sent."""

import json
import socket
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

HANG = "hang"  # read the request and never answer


class Receiver:
    """`replies` are given in order, then 200 for ever: a status, a status with headers, or HANG."""

    def __init__(self, *replies: int | tuple[int, dict[str, str]] | str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._replies = deque(replies)
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Its address, with a part that nobody may see."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/services/T0P/S3CRET"

    @property
    def texts(self) -> list[str]:
        """The texts that it took with a 200 or refused, in order."""
        return [body["text"] for body in self.bodies]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.bodies.append(json.loads(body))
                receiver.headers.append(dict(self.headers.items()))
                reply = receiver._replies.popleft() if receiver._replies else 200
                if reply == HANG:
                    receiver._over.wait()
                    return
                status, headers = reply if isinstance(reply, tuple) else (int(reply), {})
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
                pass

        return Handler


def nobody_listens() -> str:
    """An address on loopback that refuses connections."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/services/T0P/S3CRET"
