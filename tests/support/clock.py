"""A clock that tests own. Time stands still until it is moved, by hand (`advance`) or by `run`, which jumps to the
next timer whenever the event loop has nothing else to do: simulated hours take milliseconds.

It does not see threads: what they work on takes no time here, and time may jump while they do.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
WALL_S = 1_795_000_000.0  # 2026-11-18
GRAIN_S = 1e-6  # a wait that is not over takes at least this long, as on a real machine


class EverybodyWaits(AssertionError):
    """Nothing is ready and no timer is set: what is being tested would hang for ever."""


class ManualTimer:
    """A call that is due at `at`."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """See `tunemill.clock.Timer`."""
        self.callback = None


class ManualClock:
    """`tunemill.clock.Clock`, moved by its owner. `start` is the first monotonic time; wall time moves with it."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._start = start
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._now

    def wall(self) -> float:
        """See `Clock.wall`."""
        return WALL_S + self._now - self._start

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over = asyncio.Event()
        timer = self.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        """See `Clock.call_later`."""
        timer = ManualTimer(self._now + max(seconds, GRAIN_S if seconds > 0 else 0.0), callback)
        heapq.heappush(self._timers, (timer.at, next(self._order), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, making each call at its own time."""
        until = self._now + seconds
        while (at := self._next_at()) is not None and at <= until:
            self._fire(at)
        self._now = until

    def advance_to_next(self) -> bool:
        """Let time pass until the next timer is due; False where there is none."""
        at = self._next_at()
        if at is not None:
            self._fire(at)
        return at is not None

    async def run(self, work: Coroutine[Any, Any, T], *, each_turn: Callable[[], object] = lambda: None) -> T:
        """Do the work; whenever everybody waits for time, time passes. Raises EverybodyWaits where all hangs.

        `each_turn` is called at every turn of the event loop, between whatever else is going on.
        """
        loop: Any = asyncio.get_running_loop()
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.sleep(0)
                each_turn()
                # While this runs, the list holds everybody else's turns.
                if not loop._ready and not task.done() and not self.advance_to_next():
                    raise EverybodyWaits("nothing is ready and no timer is set")
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _next_at(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _fire(self, at: float) -> None:
        self._now = max(self._now, at)
        while self._timers and self._timers[0][0] <= at:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
