"""The same call again and again, with another body each time, at a fraction of what the SDK asks for a call.

The SDK makes the first request of its kind itself: it authenticates, finds the address (a deployment's, on Azure) and
sets its headers. What it built is kept, and the requests after it differ from it in nothing but the body; they leave
through `exchange`. From time to time the SDK is asked afresh, so that a key that changes under its hands is noticed.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import httpx2
import openai
from multidict import CIMultiDict
from yarl import URL

from tunemill.client.exchange import Exchange, Response, Route
from tunemill.client.sdk import http_client_for
from tunemill.client.trust import proxy_for
from tunemill.clock import Clock

AFRESH_S = 60.0
# What belongs to one body or one connection. aiohttp says itself which encodings it can read.
_NOT_KEPT = frozenset({"content-length", "host", "idempotency-key", "connection", "accept-encoding"})
_kind: ContextVar[tuple[str, str]] = ContextVar("kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the SDK built for a kind of call, and when."""

    at: float
    route: Route


class RepeatedPost:
    """Posts bodies through an SDK client. A kind of call is a path and a model: together they decide the address."""

    __slots__ = ("_clock", "_exchange", "_known", "_sdk")

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        connections: int,
        connect_s: float,
        clock: Clock,
        make_sdk: Callable[..., openai.AsyncOpenAI] = openai.AsyncOpenAI,
    ) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._exchange = Exchange(connections=connections, connect_s=connect_s)
        timeout = httpx2.Timeout(None, connect=connect_s)
        http = http_client_for(base_url, timeout=timeout, event_hooks={"request": [self._learn]})
        self._sdk = make_sdk(base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http)

    async def aclose(self) -> None:
        """Close the pools."""
        await self._sdk.close()
        await self._exchange.aclose()

    async def post(self, path: str, model: str, body: bytes) -> Response:
        """The response, whatever its status. Raises what the transport raises, or the SDK's wrapping of it."""
        known = self._known.get((path, model))
        if known is None or self._clock.monotonic() - known.at > AFRESH_S:
            return await self._by_the_sdk(path, model, body)
        return await self._exchange.post(known.route, body)

    async def _by_the_sdk(self, path: str, model: str, body: bytes) -> Response:
        token = _kind.set((path, model))
        try:
            response = await self._sdk.post(path, content=body, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            response = error.response
        finally:
            _kind.reset(token)
        return Response(response.status_code, response.headers, response.content)

    async def _learn(self, request: httpx2.Request) -> None:
        """Called by the HTTP client with every request that is about to leave."""
        kind = _kind.get(None)
        if kind is not None:
            kept = CIMultiDict(item for item in request.headers.multi_items() if item[0].lower() not in _NOT_KEPT)
            url = URL(str(request.url), encoded=True)
            route = self._exchange.route(url, kept, proxy_for(url))
            self._known[kind] = _Known(at=self._clock.monotonic(), route=route)
