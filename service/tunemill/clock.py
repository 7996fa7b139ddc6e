"""Time as a parameter. Everything that needs the time or needs to wait takes a `Clock`, so that a test can own it."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Never make the call; harmless when it was made."""


class Clock(Protocol):
    """What the rest of tunemill knows about time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""

    def wall(self) -> float:
        """Seconds since the Unix epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least so many seconds."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back once, after so many seconds, from the running event loop."""


class SystemClock:
    """The machine's own clock and asyncio's own timers."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float | None) -> None:
    """Return when the event is set or so many seconds have passed (None: however long); the event is clear again."""
    timer = None if seconds is None else clock.call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        event.clear()
        if timer is not None:
            timer.cancel()
