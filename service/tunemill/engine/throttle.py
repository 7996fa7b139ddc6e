"""asyncio-throttle with a rate that may change and need not be whole: never more than one second's worth in a window.

Awaited by a lane's one dispatching task alone, so that its polling costs one task and not thousands.
"""

from asyncio_throttle.throttler import Throttler

POLL_S = 0.002


class RequestThrottle:
    """The outer guard of the requests-per-minute limit; the pacer has already spread the requests evenly."""

    __slots__ = ("_throttler",)

    def __init__(self, per_minute: float | None) -> None:
        self._throttler: Throttler | None = None
        self.change(per_minute)

    def change(self, per_minute: float | None) -> None:
        """A new limit from now on; what left within the last window still counts."""
        if per_minute is None:
            self._throttler = None
            return
        count = max(1, round(per_minute / 60))
        period = count * 60 / per_minute
        if self._throttler is None:
            self._throttler = Throttler(rate_limit=count, period=period, retry_interval=POLL_S)
        else:
            self._throttler.rate_limit, self._throttler.period = count, period

    async def acquire(self) -> None:
        """Return when one more request may leave."""
        if self._throttler is not None:
            await self._throttler.acquire()
