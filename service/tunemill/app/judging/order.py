"""Portions are judged by whoever has time, and come back in the order of the source."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tunemill.app.candidates import Portion
from tunemill.app.judging.process import ORDERS_MAX, JudgeProcess
from tunemill.app.judging.task import JudgePortion
from tunemill.dataset import Judged, Limits

_AHEAD_HERE = 4  # portions that were judged here and wait for those before them
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class _Sent:
    """A portion that a process judges."""

    portion: Portion
    process: JudgeProcess


def judged_in_order(
    portions: Iterator[Portion],
    here: JudgePortion,
    processes: Sequence[JudgeProcess],
    *,
    limits: Callable[[], Limits],
    check: Callable[[], None],
) -> Iterator[Judged]:
    """All portions. `here` judges in this process: all of them where there is no other, and else what it finds time
    for, and what another could not do. `check` is called at each portion, and every so often while it waits, and may
    raise.
    """
    queue: deque[_Sent | Judged] = deque()
    ahead_max = _AHEAD_HERE + ORDERS_MAX * len(processes)
    while True:
        check()
        for process in processes:
            while len(queue) < ahead_max and process.has_room and (portion := next(portions, None)) is not None:
                process.send(portion, limits())
                queue.append(_Sent(portion, process))
        first = queue[0] if queue else None
        if isinstance(first, Judged):
            queue.popleft()
            yield first
        elif first is not None and first.process.is_done(0):
            queue.popleft()
            yield first.process.take() or here(first.portion, limits())
        elif len(queue) < ahead_max and (portion := next(portions, None)) is not None:
            queue.append(here(portion, limits()))
        elif first is not None:
            first.process.is_done(_LOOK_EVERY_S)
        else:
            return
