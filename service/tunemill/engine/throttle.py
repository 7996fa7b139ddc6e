"""asyncio-throttle with a rate that may change and need not be whole: what may leave within any one second at most.

Awaited by a lane's one dispatching task alone, so that its polling costs one task and not thousands.
"""

import math

from asyncio_throttle.throttler import Throttler

POLL_S = 0.002
CATCH_UP_S = 0.5


class RequestThrottle:
    """The outer guard of the requests-per-minute limit; the allowance has already spread the requests evenly.

    Half a second of lateness may be made up for, so that half more than a second's worth passes within a second; where
    not even one passes a second, one passes within its interval.
    """

    __slots__ = ("_throttler",)

    def __init__(self, per_minute: float | None) -> None:
        self._throttler: Throttler | None = None
        self.change(per_minute)

    def change(self, per_minute: float | None) -> None:
        """A new limit from now on; what left within the last window still counts."""
        if per_minute is None:
            self._throttler = None
            return
        per_s = per_minute / 60
        count, period = (math.ceil(per_s * (1 + CATCH_UP_S)), 1.0) if per_s > 1 else (1, 1 / per_s)
        if self._throttler is None:
            self._throttler = Throttler(rate_limit=count, period=period, retry_interval=POLL_S)
        else:
            self._throttler.rate_limit, self._throttler.period = count, period

    async def acquire(self) -> None:
        """Return when one more request may leave."""
        if self._throttler is not None:
            await self._throttler.acquire()
