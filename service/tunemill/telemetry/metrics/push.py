"""Pushes a run's metrics now and then, and once more at its end, to whoever cannot be expected to come and read them.

Promises: a push never stops the run and never delays it, not even at its end by more than `DEADLINE_S`; one that fails
is a line in the log, and the next one is tried all the same. The figures are taken in the event loop, as they are not
to change while they are read; what may block is done in a thread that nobody waits for.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from prometheus_client import CollectorRegistry, push_to_gateway
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from tunemill.clock import Clock
from tunemill.errors import ArgumentError
from tunemill.recipe import has_credentials, problem_of_url

Push: TypeAlias = Callable[[Sequence[Metric]], None]  # blocks; raises OSError or ValueError where it does not arrive

EVERY_S = 15.0
TIMEOUT_S = 5.0  # of one operation on a socket
DEADLINE_S = 10.0  # of one push, with everything
_JOB = "tunemill"


def check_push_gateway(url: str, flag: str) -> str:
    """The URL, where it can be one. Raises ArgumentError, which names the flag and never shows a password."""
    if has_credentials(url):
        mend = "take it out, and let a proxy on this machine add it"
        raise ArgumentError("there is a password or a key in it", mend=mend, key=flag)
    if problem := problem_of_url(url):
        raise ArgumentError(problem, mend="write it as http://pushgateway:9091", key=flag, value=url)
    return url


def push_gateway(url: str, run: str) -> Push:
    """Replaces the run's group in a Prometheus Pushgateway."""

    def push(families: Sequence[Metric]) -> None:
        taken = CollectorRegistry()
        taken.register(_Taken(families))
        push_to_gateway(url, job=_JOB, registry=taken, grouping_key={"run": run}, timeout=TIMEOUT_S)

    return push


class _Taken(Collector):
    """Figures as they were taken."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._families


@asynccontextmanager
async def pushing(
    registry: CollectorRegistry,
    pushes: Mapping[str, Push],
    *,
    clock: Clock,
    logger: FilteringBoundLogger,
    every_s: float = EVERY_S,
) -> AsyncIterator[None]:
    """Push while the context is open, and at its end. `pushes` are by what logs call the receiver."""
    if not pushes:
        yield
        return
    pushers = [_Pusher(registry, push, to, logger) for to, push in pushes.items()]
    regular = asyncio.create_task(_regularly(pushers, clock, every_s), name="push")
    try:
        yield
    finally:
        regular.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await regular
        await _once(pushers)


async def _regularly(pushers: "Sequence[_Pusher]", clock: Clock, every_s: float) -> None:
    while True:
        await clock.sleep(every_s)
        await _once(pushers)


async def _once(pushers: "Sequence[_Pusher]") -> None:
    """All at the same time: none waits for another's receiver."""
    await asyncio.gather(*(pusher.push() for pusher in pushers))


class _Pusher:
    """One receiver. Says when pushes begin to fail and when they arrive again, not each time."""

    def __init__(self, registry: CollectorRegistry, push: Push, to: str, logger: FilteringBoundLogger) -> None:
        self._registry = registry
        self._push = push
        self._to = to
        self._logger = logger
        self._under_way: asyncio.Future[str] | None = None
        self._is_failing = False

    async def push(self) -> None:
        """Push what the figures are now; returns after `DEADLINE_S` at the latest."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                self._told(await self._push_now())
        except TimeoutError:
            self._told(f"no answer within {DEADLINE_S:g} s")

    async def _push_now(self) -> str:
        """What went wrong; "" where nothing did. One at a time: what is still under way has its turn."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})
        families = tuple(self._registry.collect())
        self._under_way = _in_thread(lambda: self._pushed(families))
        return await asyncio.shield(self._under_way)

    def _pushed(self, families: Sequence[Metric]) -> str:
        """What went wrong; "" where nothing did. Whatever it is, it is no reason to end anything."""
        try:
            self._push(families)
        except Exception as error:
            return str(error) or type(error).__name__
        return ""

    def _told(self, problem: str) -> None:
        if problem and not self._is_failing:
            self._logger.warning("push_failed", to=self._to, message=problem)
        elif not problem and self._is_failing:
            self._logger.info("push_arrived_again", to=self._to)
        self._is_failing = bool(problem)


def _in_thread(work: Callable[[], str]) -> asyncio.Future[str]:
    """The work's result. The thread is none that the end of the process waits for."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def settle(said: str) -> None:
        if not result.done():
            result.set_result(said)

    def worked() -> None:
        said = work()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle, said)

    threading.Thread(target=worked, name="push", daemon=True).start()
    return result
