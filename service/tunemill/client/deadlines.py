"""Deadlines for thousands of calls at once, with one timer for all that last equally long.

`asyncio.timeout` sets a timer for every call and takes it down again; nearly no call needs it. Calls that may last
equally long end their patience in the order in which they began, so that one timer for the first of them is enough.

While a provider answers nobody, whom it has taken a request from is better waited for: what is cut may be answered, and
billed, when it is back, and would be sent again. `hold` stops the clock for those, `release` gives them all their time.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """`with deadlines.within(seconds):` in a task raises TimeoutError where it takes longer, as `asyncio.timeout` does.

    Used within one event loop. What it remembers is what is under way.
    """

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[tuple[str, float], _Queue] = {}

    def within(self, seconds: float, kind: str = "") -> "_Deadline":
        """For the running task, from now on; `kind` is of what may be held together."""
        queue = self._queues.get((kind, seconds))
        if queue is None:
            # What nobody waits in any more is forgotten: a limit may be steered to and fro.
            self._queues = {key: queue for key, queue in self._queues.items() if queue.is_needed}
            queue = self._queues[kind, seconds] = _Queue(seconds)
        return _Deadline(queue)

    def hold(self, kind: str) -> None:
        """Time stands still for all of this kind that are under way. Who begins later has a deadline as ever."""
        for queue in self._of(kind):
            queue.hold()

    def release(self, kind: str) -> None:
        """Those that were held have all their time from now on."""
        for queue in self._of(kind):
            queue.release()

    def _of(self, kind: str) -> "list[_Queue]":
        return [queue for (of, _), queue in self._queues.items() if of == kind]


class _Deadline:
    """One call's."""

    __slots__ = ("_cancelling", "_queue", "_task", "at", "is_past")

    def __init__(self, queue: "_Queue") -> None:
        self._queue = queue
        self.at = 0.0
        self.is_past = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._queue.enter(self)

    def expire(self) -> None:
        """The time has passed."""
        self.is_past = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._queue.leave(self)
        # Where somebody else wanted it cancelled, too, cancelled it is.
        if self.is_past and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Queue:
    """All that last equally long, in the order in which they end."""

    __slots__ = ("_entered", "_held", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entered: dict[_Deadline, None] = {}
        self._held: dict[_Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def is_needed(self) -> bool:
        """Whether anybody is in it, or its timer is still to come."""
        return self._timer is not None or bool(self._held)

    def enter(self, deadline: _Deadline) -> None:
        """It begins now."""
        deadline.at = self._loop.time() + self._seconds
        self._entered[deadline] = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline.at, self._look)

    def leave(self, deadline: _Deadline) -> None:
        """It came to its end. The timer stays: the next one will need it."""
        if self._entered.pop(deadline, deadline) is deadline and self._held:
            self._held.pop(deadline, None)

    def hold(self) -> None:
        """Whoever is in it has no deadline until `release`."""
        self._held |= self._entered
        self._entered.clear()

    def release(self) -> None:
        """Whoever was held begins now."""
        held, self._held = self._held, {}
        for deadline in held:
            self.enter(deadline)

    def _look(self) -> None:
        """Whoever is over is told so; the timer waits for the next one."""
        self._timer = None
        now = self._loop.time()
        while self._entered:
            first = next(iter(self._entered))
            if first.at > now:
                self._timer = self._loop.call_at(first.at, self._look)
                return
            del self._entered[first]
            first.expire()
