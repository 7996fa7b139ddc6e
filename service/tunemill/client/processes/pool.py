"""So many executor processes: each attempt goes to the one that has least to do, and one that is lost is replaced.

starting ──> running ── lost ──> starting          what was in flight there comes back as disconnected
                            └──> given up          lost again and again as soon as it is there: the run has to end
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tunemill.client.processes.messages import NO_HINTS
from tunemill.client.processes.process import ExecutorProcess
from tunemill.client.reach import Reach
from tunemill.clock import Clock
from tunemill.errors import ExecutorsFailed
from tunemill.model import Failure, FailureKind, Reply, Request, Undelivered

AT_ONCE_S = 10.0
LOSSES_MAX = 3  # so many times in a row lost at once: it will not be any better the next time


@asynccontextmanager
async def executor_processes(
    providers: Mapping[str, Reach], *, processes: int, clock: Clock, gave_up: Callable[[str], None]
) -> AsyncIterator["ProcessPool"]:
    """So many executor processes for these providers, all of them ready, until the context is left.

    `gave_up` is told, once, why no more attempts will be made. Raises ExecutorsFailed where they cannot be started.
    """
    pool = ProcessPool(providers, clock=clock, gave_up=gave_up)
    starting: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(processes)]
    keeping = asyncio.create_task(pool.run(starting))
    try:
        await asyncio.gather(*starting)
        yield pool
    finally:
        pool.close()
        await keeping


class ProcessPool:
    """See the module."""

    def __init__(self, providers: Mapping[str, Reach], *, clock: Clock, gave_up: Callable[[str], None]) -> None:
        self._providers = providers
        self._clock = clock
        self._gave_up = gave_up
        self._alive: list[ExecutorProcess] = []
        self._running: list[ExecutorProcess] = []  # those that can be sent to
        self._has_changed = asyncio.Event()  # set as long as there is somebody to send to, or nobody ever will be
        self._is_over = False

    def executor(self, provider: str) -> Callable[[Request, float], Awaitable[Reply]]:
        """The executor for a provider: one attempt, at most so many seconds long."""
        return partial(self._send, provider)

    def be_patient(self, provider: str, model: str, *, is_patient: bool) -> None:
        """Whether to wait for what is under way to a model for as long as it takes. When that ends, each of these has
        all its time again."""
        for process in self._running:
            process.be_patient(provider, model, is_patient=is_patient)

    @property
    def pids(self) -> list[int]:
        """Of the processes that are running."""
        return [process.pid for process in self._running]

    def close(self) -> None:
        """Let all of them end."""
        self._is_over = True
        self._has_changed.set()
        for process in self._alive:
            process.close()

    async def run(self, starting: Sequence["asyncio.Future[None]"]) -> None:
        """Keep a process running for each of these until the pool is closed; each is told when its process is ready for
        the first time, or why it is not."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for started in starting:
                    tasks.create_task(self._keep(started))
        finally:
            if not self._is_over:
                self._give_up("nobody looks after the executor processes any more")

    async def _keep(self, started: "asyncio.Future[None]") -> None:
        losses = 0
        while not self._is_over:
            process = ExecutorProcess(self._providers, clock=self._clock, lost=self._forget)
            self._alive.append(process)
            began = self._clock.monotonic()
            try:
                await process.start()
                began = self._clock.monotonic()
                self._use(process, started)
                await process.is_lost.wait()
            except ExecutorsFailed as error:
                if not started.done():
                    started.set_exception(error)
                    return
            finally:
                how = await process.end()
                self._alive.remove(process)
            losses = losses + 1 if self._clock.monotonic() - began < AT_ONCE_S else 0
            if losses == LOSSES_MAX and not self._is_over:
                self._give_up(f"executor processes are lost as soon as they are there; the last one {how}")

    async def _send(self, provider: str, request: Request, timeout_s: float) -> Reply:
        if not self._running:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._has_changed.wait()
            except TimeoutError:
                return _nowhere("no executor process was ready in time")
            if not self._running:
                return _nowhere("there is no executor process any more")
        return await min(self._running, key=_load).send(provider, request, timeout_s)

    def _use(self, process: ExecutorProcess, started: "asyncio.Future[None]") -> None:
        self._running.append(process)
        self._has_changed.set()
        if not started.done():
            started.set_result(None)
        if self._is_over:
            process.close()

    def _forget(self, process: ExecutorProcess) -> None:
        if process in self._running:
            self._running.remove(process)
        if not self._running and not self._is_over:
            self._has_changed.clear()

    def _give_up(self, why: str) -> None:
        self._is_over = True
        self._has_changed.set()
        self._gave_up(why)


def _load(process: ExecutorProcess) -> int:
    return process.in_flight


def _nowhere(message: str) -> Undelivered:
    failure = Failure(kind=FailureKind.NOT_CONNECTED, message=message, may_be_billed=False)
    return Undelivered(failure=failure, hints=NO_HINTS)
