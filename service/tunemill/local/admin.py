"""What is not of the API: the books to read, and the settings to change while the server runs."""

from collections.abc import AsyncIterator

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tunemill.local.books import BodyCounts, Books
from tunemill.local.completions import Completions
from tunemill.local.controls import Controls, changed
from tunemill.local.replies import Reply, bad_request, json_reply

_LINES_PER_CHUNK = 1000


def response(reply: Reply) -> Response:
    """A reply as Starlette sends it."""
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)


class Admin:
    """`/books`, `/books/requests`, `/books/arrivals`, `/books/reset`, `/control`, `/healthz`."""

    def __init__(self, completions: Completions, controls: Controls) -> None:
        self._completions = completions
        self._controls = controls

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route("/books", self._books, methods=["GET"]),
            Route("/books/requests", self._bodies, methods=["GET"]),
            Route("/books/arrivals", self._arrivals, methods=["GET"]),
            Route("/books/reset", self._reset, methods=["POST"]),
            Route("/control", self._show, methods=["GET"]),
            Route("/control", self._control, methods=["POST"]),
            Route("/healthz", self._health, methods=["GET"]),
        ]

    async def _health(self, _: Request) -> Response:
        return response(json_reply({"status": "ok"}))

    async def _books(self, request: Request) -> Response:
        return response(json_reply(self._completions.read_books(timed="timed" in request.query_params)))

    async def _bodies(self, request: Request) -> Response:
        """JSON lines, one a distinct body; `?billed_min=2` leaves out those that were billed less often."""
        billed_min = int(request.query_params.get("billed_min", "0"))
        lines = _lines(self._completions.books.bodies, billed_min)
        return StreamingResponse(lines, media_type="application/jsonl")

    async def _arrivals(self, _: Request) -> Response:
        """How many completion requests came in each second, counted from the first one on."""
        return response(json_reply(list(self._completions.books.arrivals)))

    async def _reset(self, _: Request) -> Response:
        """Open new books. Requests in flight are still booked in the old ones, which are shown for the last time."""
        old, self._completions.books = self._completions.books, Books()
        return response(json_reply(old.totals()))

    async def _show(self, _: Request) -> Response:
        return response(json_reply(self._controls.settings.to_json()))

    async def _control(self, request: Request) -> Response:
        try:
            changes = orjson.loads(await request.body())
            if not isinstance(changes, dict):
                raise ValueError("the body must be an object")
            self._controls.apply(changed(self._controls.settings, changes))
        except ValueError as problem:
            return response(bad_request(str(problem)))
        return response(json_reply(self._controls.settings.to_json()))


async def _lines(bodies: BodyCounts, billed_min: int) -> AsyncIterator[bytes]:
    chunk: list[bytes] = []
    for counts in bodies:
        if counts["billed"] >= billed_min:
            chunk.append(orjson.dumps(counts, option=orjson.OPT_APPEND_NEWLINE))
        if len(chunk) >= _LINES_PER_CHUNK:
            yield b"".join(chunk)
            chunk.clear()
    yield b"".join(chunk)
