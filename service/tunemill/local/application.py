"""The ASGI application: completions straight from the raw protocol, because they come by the thousand; the rest through
Starlette, because it is easier to read."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tunemill.local.admin import Admin, response
from tunemill.local.backend import Backend
from tunemill.local.calls import Endpoint
from tunemill.local.chance import ChanceSource
from tunemill.local.completions import Completions, passed_pause
from tunemill.local.controls import Controls
from tunemill.local.fine_tuning import FineTuning
from tunemill.local.fine_tuning_api import Cut, FineTuningApi
from tunemill.local.models import Models
from tunemill.local.options import ServerOptions
from tunemill.local.prices import PriceTable
from tunemill.local.replies import Reply, bad_key, error, not_found, refusing
from tunemill.local.wire import Receive, Scope, Send, Wire

_ENDPOINTS = {endpoint.value: endpoint for endpoint in Endpoint}


class Application:
    """One server's whole state, and the ASGI callable on top of it."""

    def __init__(self, options: ServerOptions, make_backend: Callable[[Controls], Backend]) -> None:
        self.controls = Controls(options.settings())
        self.backend = make_backend(self.controls)
        self.models = Models(self.backend.models, only=options.models, shutdown_dates=options.shutdown_dates)
        self.completions = Completions(
            backend=self.backend,
            controls=self.controls,
            models=self.models,
            prices=PriceTable(
                input_usd_per_million=options.input_usd_per_million,
                output_usd_per_million=options.output_usd_per_million,
            ),
            chances=ChanceSource(options.seed),
            api_key=options.api_key,
        )
        self.fine_tuning = FineTuning(
            self.models,
            pace=options.job_pace,
            results_base64=options.results_base64,
        )
        self._options = options
        self._rest = Starlette(
            routes=self._routes(),
            exception_handlers={
                HTTPException: _no_such_address,
                404: _no_such_address,
                ClientDisconnect: self._abandoned,
            },
        )

    def _routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/models", self._list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", self._retrieve_model, methods=["GET"]),
            *FineTuningApi(self.fine_tuning, self.completions, self._options).routes(),
            *Admin(self.completions, self.controls).routes(),
        ]

    async def _abandoned(self, _: Request, __: Exception) -> Response:
        """The client left before its request was whole: nobody is there to be told."""
        self.completions.books.fail("abandoned")
        return Cut()

    def close(self) -> None:
        """Let go of the model and of uploaded files."""
        self.backend.close()
        self.fine_tuning.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"only HTTP is served here, not {scope['type']!r}")
        wire = Wire(scope, receive, send)
        endpoint = _ENDPOINTS.get(scope["path"])
        if endpoint is not None and scope["method"] == "POST":
            await self.completions.answer(endpoint, wire)
        elif scope["path"].startswith("/v1/"):
            await self._serve_api(wire, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _serve_api(self, wire: Wire, receive: Receive, send: Send) -> None:
        """The API beside completions, under the same outages and the same key."""
        turned_away = self._turned_away(wire)
        if turned_away is not None:
            await response(turned_away)(wire.scope, receive, send)
        elif not self.controls.settings.paused:
            await self._rest(wire.scope, receive, send)
        else:
            # Only once the body is read can it be seen that the client leaves.
            body = await wire.body()
            if body is not None and await passed_pause(self.controls, wire):
                await self._rest(wire.scope, wire.replay(body), send)

    def _turned_away(self, wire: Wire) -> Reply | None:
        if not self.completions.authorized(wire.scope["headers"]):
            return bad_key()
        return refusing() if self.controls.settings.refusing else None

    async def _list_models(self, _: Request) -> Response:
        self.fine_tuning.settle()
        return response(self.models.listing())

    async def _retrieve_model(self, request: Request) -> Response:
        self.fine_tuning.settle()
        return response(self.models.retrieve(request.path_params["model"]))


async def _no_such_address(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 404
    if status == 404:
        return response(not_found(f"Invalid URL ({request.method} {request.url.path})"))
    detail = problem.detail if isinstance(problem, HTTPException) else str(problem)
    return response(error(status, f"{detail} ({request.method} {request.url.path})", kind="bad_request"))
