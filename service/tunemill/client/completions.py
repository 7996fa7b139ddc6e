"""Sends one completion request and says what came of it, as a value. It never raises for what a provider may do.

`AsyncOpenAI` over its aiohttp transport keeps authentication and address; its own retries are off, what it builds for
a call is repeated with other bodies, and the deadline for an attempt is ours.
"""

import contextlib

import aiohttp
import httpx2
import openai
import orjson

from tunemill.answers import parse_completion
from tunemill.client.connection import nothing_was_sent, what_broke
from tunemill.client.deadlines import Deadlines
from tunemill.client.exchange import Response
from tunemill.client.mending import mended
from tunemill.client.repeated import RepeatedPost
from tunemill.client.translate import failure_of, hints_of, readable
from tunemill.clock import Clock
from tunemill.model import (
    Completion,
    Delivered,
    Failure,
    FailureKind,
    JsonObject,
    LimitHints,
    Reply,
    Request,
    Undelivered,
)

CONNECT_TIMEOUT_S = 20.0
NO_HINTS = LimitHints()

# The SDK wraps what its transport names; what the transport does not name (a reply that is no HTTP) comes as it is.
_BROKEN = (openai.APIConnectionError, httpx2.HTTPError, OSError)


class CompletionsClient:
    """One provider's completion endpoints, with a connection pool as large as the concurrency."""

    __slots__ = ("_clock", "_deadlines", "_post", "_secret")

    def __init__(self, *, base_url: str, api_key: str, connections: int, clock: Clock) -> None:
        self._clock = clock
        self._deadlines = Deadlines()
        self._secret = api_key
        self._post = RepeatedPost(
            base_url=base_url, api_key=api_key, connections=connections, connect_s=CONNECT_TIMEOUT_S, clock=clock
        )

    async def aclose(self) -> None:
        """Close the pool."""
        await self._post.aclose()

    def be_patient(self, model: str, *, is_patient: bool) -> None:
        """Whether to wait for what is under way to a model for as long as it takes. When that ends, each of these has
        all its time again."""
        (self._deadlines.hold if is_patient else self._deadlines.release)(model)

    async def send(self, request: Request, timeout_s: float) -> Reply:
        """One attempt, at most `timeout_s` seconds long."""
        return await self.attempt(request.path, request.lane.model, request.body, timeout_s)

    async def attempt(self, path: str, model: str, body: bytes, timeout_s: float) -> Reply:
        """As `send`, for whoever knows no more of the request than this."""
        try:
            with self._deadlines.within(timeout_s, model):
                response = await self._post.post(path, model, body)
        except aiohttp.ClientError as error:  # some of which are TimeoutErrors too, of a connection that was not made
            return self._broken(error)
        except TimeoutError:
            return _undelivered(FailureKind.TIMEOUT, f"no answer within {timeout_s:g} s", may_be_billed=True)
        except _BROKEN as error:
            return self._broken(error)
        return self._delivered(response) if 200 <= response.status < 300 else self._refused(response)

    def _delivered(self, response: Response) -> Reply:
        hints = hints_of(response.headers)
        body, raw = _parsed(response.body)
        if not isinstance(raw, dict) or ("error" in raw and "choices" not in raw):
            message = readable(f"HTTP {response.status} with a body that is no completion", self._secret)
            return _undelivered(FailureKind.BAD_REPLY, message, may_be_billed=True, hints=hints)
        return Delivered(body=body, hints=hints, completion=_read(raw, _id_of(response)))

    def _refused(self, response: Response) -> Reply:
        failure = failure_of(
            response.status, response.headers, response.body, wall=self._clock.wall(), secret=self._secret
        )
        return Undelivered(failure=failure, hints=hints_of(response.headers))

    def _broken(self, error: Exception) -> Reply:
        message = readable(what_broke(error), self._secret)
        if nothing_was_sent(error):
            return _undelivered(FailureKind.NOT_CONNECTED, message, may_be_billed=False)
        return _undelivered(FailureKind.DISCONNECTED, message, may_be_billed=True)


def _parsed(body: bytes) -> tuple[bytes, object]:
    """The body as it can be written down, and what it says: None where it is no JSON."""
    with contextlib.suppress(orjson.JSONDecodeError):
        return body, orjson.loads(body)
    with contextlib.suppress(orjson.JSONDecodeError):
        whole = mended(body)
        return whole, orjson.loads(whole)
    return body, None


def _id_of(response: Response) -> str | None:
    """The provider's name for the call, which may be any bytes, as text that can be written down."""
    given = response.headers.get("x-request-id")
    return given if given is None or given.isascii() else given.encode(errors="replace").decode()


def _read(raw: JsonObject, provider_request_id: str | None) -> Completion:
    try:
        return parse_completion(raw, provider_request_id)
    except Exception:  # whatever is wrong with our reading, the answer was paid for and has to reach the journal
        return Completion(text="", finish_reason="unreadable", provider_request_id=provider_request_id)


def _undelivered(kind: FailureKind, message: str, *, may_be_billed: bool, hints: LimitHints = NO_HINTS) -> Undelivered:
    return Undelivered(failure=Failure(kind=kind, message=message, may_be_billed=may_be_billed), hints=hints)
