"""What anybody would write first: calls in a loop, so many at once, and nothing is kept.

    python sdk_client.py BASE_URL CALLS AT_ONCE default|aiohttp|post|plain

`default` and `aiohttp` make typed calls of `AsyncOpenAI` over these transports, `post` skips its types
(`client.post(..., cast_to=httpx2.Response)` over aiohttp), and `plain` is aiohttp without the SDK.

Prints one line of JSON with `seconds`, `cpu_s` (of the loop alone) and `max_rss_mib`.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import aiohttp
import httpx2
import openai

Call: TypeAlias = Callable[[dict[str, Any]], Awaitable[object]]


async def main(base_url: str, calls: int, at_once: int, kind: str) -> None:
    """Make the calls and print the figures."""
    if kind == "plain":
        connector = aiohttp.TCPConnector(limit=at_once)
        async with aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer bench"}) as session:
            await _measured(_plain(session, base_url), calls, at_once)
        return
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    http = (openai.DefaultAsyncHttpxClient if kind == "default" else openai.DefaultAioHttpClient)(limits=limits)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="bench", max_retries=0, http_client=http) as client:
        await _measured(_posted(client) if kind == "post" else _typed(client), calls, at_once)


async def _measured(call: Call, calls: int, at_once: int) -> None:
    left = iter(range(calls))
    started, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(_worker(call, left))
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


async def _worker(call: Call, left: Iterator[int]) -> None:
    for number in left:
        prompt = f"A line about a red cat in the rain, case {number}."
        await call(
            {"model": "gpt-4o-mini", "max_tokens": 40, "messages": [{"role": "user", "content": prompt}]},
        )


def _typed(client: openai.AsyncOpenAI) -> Call:
    return lambda body: client.chat.completions.create(**body)


def _posted(client: openai.AsyncOpenAI) -> Call:
    return lambda body: client.post("/chat/completions", body=body, cast_to=httpx2.Response)


def _plain(session: aiohttp.ClientSession, base_url: str) -> Call:
    async def call(body: dict[str, Any]) -> object:
        async with session.post(base_url + "/chat/completions", json=body) as response:
            return await response.read()

    return call


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
