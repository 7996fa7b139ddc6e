"""Time as a parameter. Everything that needs the time or needs to wait takes a `Clock`, so that a test can own it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of tunemill knows about time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""

    def wall(self) -> float:
        """Seconds since the Unix epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least so many seconds."""


class SystemClock:
    """The machine's own clock and asyncio's own sleep."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
