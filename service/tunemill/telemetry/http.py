"""The run's HTTP address: `/metrics`, `/status`, `/healthz` and `/readyz`, in the process's own event loop.

Promises: listens where it is told and nowhere else; takes no signals; a client that hangs holds up the end of the
process by no more than a second. Knows statistics and a metrics registry, given as values, and no run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tunemill.model import Json, RunState
from tunemill.statistics import RunStatistics
from tunemill.telemetry.listen import Address, listening_socket

if TYPE_CHECKING:  # loaded by whoever listens
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response

_SHUTDOWN_GRACE_S = 1
_CONNECTIONS_MAX = 100  # dashboards and probes; nobody else has business here
_INDEX = "tunemill\n\n/metrics  for Prometheus\n/status   the run's figures as JSON\n/healthz  /readyz\n"


@asynccontextmanager
async def status_server(
    address: Address,
    *,
    statistics: Callable[[], RunStatistics],
    registry: CollectorRegistry,
    ready: Callable[[], bool] | None = None,
) -> AsyncIterator[Address]:
    """Serve while the context is open; yields the address that is really bound.

    `ready` answers `/readyz`; unless given, the run is ready while it works or is paused. Raises ArgumentError where
    it cannot listen.
    """
    listening = await listening_socket(address)
    server = _server(_application(statistics, registry, ready or _is_at_work(statistics)))
    await server.startup(sockets=[listening])
    serving = asyncio.create_task(server.main_loop(), name="status server")
    try:
        yield Address(address.host, listening.getsockname()[1])
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
    statistics: Callable[[], RunStatistics], registry: CollectorRegistry, ready: Callable[[], bool]
) -> "Starlette":
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def metrics(request: Request) -> Response:
        body, content_type = encoded_metrics(registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def status(_: Request) -> Response:
        return _json(200, statistics().to_json())

    async def healthz(_: Request) -> Response:
        return _json(200, {"healthy": True})

    async def readyz(_: Request) -> Response:
        is_ready = ready()
        return _json(200 if is_ready else 503, {"ready": is_ready, "state": statistics().state.value})

    async def index(_: Request) -> Response:
        return PlainTextResponse(_INDEX)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", metrics),
            Route("/status", status),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )


def _json(status: int, body: Json) -> "Response":
    from starlette.responses import Response

    return Response(orjson.dumps(body) + b"\n", status, media_type="application/json")


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
