"""The same call again and again, with another body each time, at a fraction of what the SDK asks for a call.

The SDK makes the first request of its kind itself: it authenticates, finds the address (a deployment's, on Azure) and
sets its headers. What it built is kept, and the requests after it differ from it in nothing but the body; they leave
through aiohttp, which is also what carries the SDK's own. From time to time the SDK is asked afresh, so that a key that
changes under its hands is noticed.
"""

import urllib.request
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp
import httpx2
import openai
from httpx2 import create_ssl_context
from multidict import CIMultiDict
from yarl import URL

from tunemill.clock import Clock

AFRESH_S = 60.0
# What belongs to one body or one connection. aiohttp says itself which encodings it can read.
_NOT_KEPT = frozenset({"content-length", "host", "idempotency-key", "connection", "accept-encoding"})
_kind: ContextVar[tuple[str, str]] = ContextVar("kind")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. Names of headers are in lower case; bytes beyond ASCII are taken as Latin-1."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the SDK built for a kind of call, and when."""

    at: float
    url: URL
    headers: CIMultiDict[str]
    proxy: str | None


class RepeatedPost:
    """Posts bodies through an SDK client. A kind of call is a path and a model: together they decide the address."""

    __slots__ = ("_clock", "_connections", "_known", "_sdk", "_session", "_timeout")

    def __init__(self, *, base_url: str, api_key: str, connections: int, connect_s: float, clock: Clock) -> None:
        self._clock = clock
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._known: dict[tuple[str, str], _Known] = {}
        self._session: aiohttp.ClientSession | None = None
        timeout = httpx2.Timeout(None, connect=connect_s)
        http = openai.DefaultAioHttpClient(
            follow_redirects=False, timeout=timeout, event_hooks={"request": [self._learn]}
        )
        self._sdk = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http
        )

    async def aclose(self) -> None:
        """Close the pools."""
        await self._sdk.close()
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, model: str, body: bytes) -> Response:
        """The response, whatever its status. Raises what the transport raises, or the SDK's wrapping of it."""
        known = self._known.get((path, model))
        if known is None or self._clock.monotonic() - known.at > AFRESH_S:
            return await self._by_the_sdk(path, model, body)
        if self._session is None:
            self._session = self._open()
        async with self._session.post(
            known.url, data=body, headers=known.headers, proxy=known.proxy, allow_redirects=False
        ) as response:
            return Response(response.status, _headers(response.raw_headers), await response.read())

    def _open(self) -> aiohttp.ClientSession:
        """A pool of our own, with the certificates that the SDK trusts."""
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60.0, ssl=create_ssl_context())
        return aiohttp.ClientSession(connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())

    async def _by_the_sdk(self, path: str, model: str, body: bytes) -> Response:
        token = _kind.set((path, model))
        try:
            response = await self._sdk.post(path, content=body, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            response = error.response
        finally:
            _kind.reset(token)
        return Response(response.status_code, _headers(response.headers.raw), response.content)

    async def _learn(self, request: httpx2.Request) -> None:
        """Called by the HTTP client with every request that is about to leave."""
        kind = _kind.get(None)
        if kind is not None:
            kept = CIMultiDict(item for item in request.headers.multi_items() if item[0].lower() not in _NOT_KEPT)
            url = URL(str(request.url), encoded=True)
            self._known[kind] = _Known(at=self._clock.monotonic(), url=url, headers=kept, proxy=_proxy_for(url))


def _proxy_for(url: URL) -> str | None:
    """The environment's proxy for this address, as the SDK finds it. (aiohttp would look for it at every request.)"""
    host = url.host or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{host}:{url.port}") or urllib.request.proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
