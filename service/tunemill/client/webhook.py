"""A message to a webhook: posted, and posted again as long as that may help and time is left.

The address is a secret: it is in no outcome, no error and no representation. What the other side says beside its status
is not looked at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
import orjson
import tenacity
from yarl import URL

from tunemill.client.translate import retry_after_s
from tunemill.client.trust import context_for, proxy_for
from tunemill.clock import Clock
from tunemill.model import JsonObject

_MAY_HELP = frozenset({408, 425, 429})  # and 5xx: all else will be refused the next time, too
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Pauses double from `first_s`; each attempt has `attempt_s`, and none begins after `total_s`."""

    first_s: float = 1.0
    attempt_s: float = 10.0
    total_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """It arrived."""

    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPosted:
    """It did not; the sentence names no address."""

    problem: str
    attempts: int


Delivery: TypeAlias = Posted | NotPosted


async def post(
    address: str,
    message: JsonObject,
    *,
    patience: Patience,
    clock: Clock,
    pause: Callable[[float], Awaitable[None]] | None = None,
) -> Delivery:
    """Post it. `pause` waits between attempts; the clock does unless it is given."""
    began, attempts = clock.monotonic(), 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        await _attempt(URL(address), message, seconds=patience.attempt_s, wall=clock.wall())

    def delay(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        backoff = min(_LONGEST_PAUSE_S, patience.first_s * 2.0 ** min(state.attempt_number - 1, 30))
        asked = error.asked_s if isinstance(error, _Again) else None
        return backoff if asked is None else max(patience.first_s, asked)

    def is_over(state: tenacity.RetryCallState) -> bool:
        return clock.monotonic() - began + state.upcoming_sleep > patience.total_s

    retrying = tenacity.AsyncRetrying(
        sleep=pause or clock.sleep,
        wait=delay,
        stop=is_over,
        retry=tenacity.retry_if_exception_type(_Again),
        reraise=True,
    )
    try:
        await retrying(attempt)
    except (_Again, _Refused) as error:
        return NotPosted(problem=str(error), attempts=attempts)
    return Posted(attempts=attempts)


class _Refused(Exception):
    """The other side will not take it."""


class _Again(Exception):
    """It may take it later: after so many seconds, where it says so."""

    def __init__(self, problem: str, asked_s: float | None = None) -> None:
        super().__init__(problem)
        self.asked_s = asked_s


async def _attempt(url: URL, message: JsonObject, *, seconds: float, wall: float) -> None:
    proxy = proxy_for(url)
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(
                url,
                data=orjson.dumps(message),
                headers={"content-type": "application/json"},
                allow_redirects=False,  # to whom a redirect leads was not said by whoever set the address
                proxy=proxy,
                ssl=context_for(url, proxy),
            ) as reply,
        ):
            _judge(reply.status, retry_after_s(reply.headers, wall=wall))
    except TimeoutError:
        raise _Again(f"{url.host} did not answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _Again(f"{url.host} cannot be reached ({type(error).__name__})") from None


def _judge(status: int, asked_s: float | None) -> None:
    if 200 <= status < 300:
        return
    if status in _MAY_HELP or status >= 500:
        raise _Again(f"it answers with status {status}", asked_s)
    raise _Refused(f"it answers with status {status}")
