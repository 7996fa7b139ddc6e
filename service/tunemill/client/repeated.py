"""The same call again and again, with another body each time, at a third of what the SDK asks for a call.

The SDK makes the first request of its kind itself: it authenticates, finds the address (a deployment's, on Azure) and
sets its headers. What it built is kept, and the requests after it differ from it in nothing but the body. From time to
time the SDK is asked afresh, so that a key that changes under its hands is noticed.
"""

from contextvars import ContextVar

import httpx2
import openai

from tunemill.clock import Clock

AFRESH_S = 60.0
_OF_THE_BODY = frozenset({"content-length", "host", "idempotency-key"})
_kind: ContextVar[tuple[str, str]] = ContextVar("kind")


class RepeatedPost:
    """Posts bodies through an SDK client. A kind of call is a path and a model: together they decide the address."""

    __slots__ = ("_clock", "_http", "_known", "_sdk", "_timeout")

    def __init__(self, *, base_url: str, api_key: str, limits: httpx2.Limits, connect_s: float, clock: Clock) -> None:
        self._clock = clock
        self._timeout = httpx2.Timeout(None, connect=connect_s)
        self._known: dict[tuple[str, str], tuple[float, httpx2.URL, httpx2.Headers]] = {}
        self._http = openai.DefaultAioHttpClient(
            limits=limits, follow_redirects=False, timeout=self._timeout, event_hooks={"request": [self._learn]}
        )
        self._sdk = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=self._timeout, http_client=self._http
        )

    async def aclose(self) -> None:
        """Close the pool."""
        await self._sdk.close()

    async def post(self, path: str, model: str, body: bytes) -> httpx2.Response:
        """The response, whatever its status. Raises what the transport raises, or the SDK's wrapping of it."""
        known = self._known.get((path, model))
        if known is None or self._clock.monotonic() - known[0] > AFRESH_S:
            return await self._by_the_sdk(path, model, body)
        _, url, headers = known
        request = httpx2.Request(
            "POST", url, headers=headers, content=body, extensions={"timeout": self._timeout.as_dict()}
        )
        return await self._http.send(request)

    async def _by_the_sdk(self, path: str, model: str, body: bytes) -> httpx2.Response:
        token = _kind.set((path, model))
        try:
            return await self._sdk.post(path, content=body, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            return error.response
        finally:
            _kind.reset(token)

    async def _learn(self, request: httpx2.Request) -> None:
        """Called by the HTTP client with every request that is about to leave."""
        kind = _kind.get(None)
        if kind is not None:
            kept = [(name, value) for name, value in request.headers.multi_items() if name not in _OF_THE_BODY]
            self._known[kind] = (self._clock.monotonic(), request.url, httpx2.Headers(kept))
