"""The run's HTTP address, in the process's own event loop: the page, `/status`, `/metrics`, `/healthz` and `/readyz`.

Promises: listens where it is told and nowhere else; takes no signals; a client that hangs holds up the end of the
process by no more than a second; who may see what is decided by `access`. Knows statistics, a page and a metrics
registry, given as values, and no run.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tunemill.model import Json, RunState
from tunemill.statistics import RunStatistics
from tunemill.telemetry.http.access import Access, PageToken
from tunemill.telemetry.http.listen import Address, is_loopback, listening_socket
from tunemill.telemetry.http.page import RunPage
from tunemill.telemetry.http.page.feed import READERS_MAX

if TYPE_CHECKING:  # loaded by whoever listens
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response

_SHUTDOWN_GRACE_S = 1
_CONNECTIONS_MAX = READERS_MAX + 100  # beside readers of the page, dashboards and probes; nobody else has business here


@asynccontextmanager
async def status_server(
    address: Address,
    *,
    statistics: Callable[[], RunStatistics],
    registry: CollectorRegistry,
    page: RunPage,
    token: PageToken | None = None,
    ready: Callable[[], bool] | None = None,
) -> AsyncIterator[Access]:
    """Serve while the context is open; yields the address that is really bound, with who may see its page.

    `ready` answers `/readyz`; unless given, the run is ready while it works or is paused. Raises ArgumentError where
    it cannot listen.
    """
    listening = await listening_socket(address)
    bound = Address(address.host, listening.getsockname()[1])
    access = Access(address=bound, is_loopback=is_loopback(listening), token=token)
    server = _server(_application(statistics, registry, ready or _is_at_work(statistics), page, access))
    await server.startup(sockets=[listening])
    serving = asyncio.create_task(server.main_loop(), name="status server")
    keeping = asyncio.create_task(page.keep_fresh(), name="page")
    try:
        yield access
    finally:
        try:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
            page.end()
        finally:
            server.should_exit = True
            await serving
            cutting_off = asyncio.get_running_loop().call_later(_SHUTDOWN_GRACE_S, _cut_off_the_rest, server)
            await server.shutdown(sockets=[listening])
            cutting_off.cancel()


def encoded_metrics(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The registry's metrics and their content type: OpenMetrics where the Accept header asks for it, else text."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _application(
    statistics: Callable[[], RunStatistics],
    registry: CollectorRegistry,
    ready: Callable[[], bool],
    page: RunPage,
    access: Access,
) -> "Starlette":
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tunemill.telemetry.http.page.routes import guarded, page_routes

    async def metrics(request: Request) -> Response:
        body, content_type = encoded_metrics(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, **_FIGURES})

    async def status(_: Request) -> Response:
        return _json(200, statistics().to_json())

    async def healthz(_: Request) -> Response:
        return _json(200, {"healthy": True})

    async def readyz(_: Request) -> Response:
        is_ready = ready()
        return _json(200 if is_ready else 503, {"ready": is_ready, "state": statistics().state.value})

    return Starlette(
        routes=[
            *page_routes(page, access),
            Route("/metrics", metrics),
            Route("/status", guarded(access, status)),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )


_FIGURES = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def _json(status: int, body: Json) -> "Response":
    from starlette.responses import Response

    return Response(orjson.dumps(body) + b"\n", status, headers=_FIGURES, media_type="application/json")


def _is_at_work(statistics: Callable[[], RunStatistics]) -> Callable[[], bool]:
    return lambda: statistics().state in {RunState.RUNNING, RunState.PAUSED}


def _server(application: "Starlette") -> "uvicorn.Server":
    """A server whose three phases the caller drives, because `serve` would take the process's signals."""
    import uvicorn

    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_graceful_shutdown=5 * _SHUTDOWN_GRACE_S,  # by then everybody has been cut off
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


def _cut_off_the_rest(server: "uvicorn.Server") -> None:
    """Whoever still has not read its answer: closing politely would wait for that for ever."""
    for connection in list(server.server_state.connections):
        connection.transport.abort()
