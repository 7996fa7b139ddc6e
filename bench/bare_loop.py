"""What anybody would write first: typed calls of `AsyncOpenAI` in a loop, so many at once, and nothing is kept.

    python bench/bare_loop.py BASE_URL CALLS AT_ONCE default|aiohttp

Prints one line of JSON with `seconds`, `cpu_s` (of the loop alone) and `max_rss_mib`.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator

import httpx2
import openai


async def main(base_url: str, calls: int, at_once: int, transport: str) -> None:
    """Make the calls and print the figures."""
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    http = (openai.DefaultAioHttpClient if transport == "aiohttp" else openai.DefaultAsyncHttpxClient)(limits=limits)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="bench", max_retries=0, http_client=http) as client:
        left = iter(range(calls))
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(_worker(client, left))
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
            "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    sys.stdout.write(json.dumps(figures) + "\n")


async def _worker(client: openai.AsyncOpenAI, left: Iterator[int]) -> None:
    for number in left:
        await client.chat.completions.create(
            model="gpt-4o-mini",
            max_tokens=40,
            messages=[{"role": "user", "content": f"A line about a red cat in the rain, case {number}."}],
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
