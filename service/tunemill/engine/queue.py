"""What waits at one model, in the order in which it is to leave: retries that are due, later steps, then new rows; and
the shelf, with what no money is left for.

Plain: it takes jobs and times and gives jobs back. Whoever asks keeps nothing of the order itself.
"""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable

from tunemill.engine.work import Job
from tunemill.model import WaitReason


class JobQueue:
    """See the module."""

    __slots__ = ("_ahead", "_new", "_order", "_retries", "shelf")

    def __init__(self) -> None:
        self._new: deque[Job] = deque()
        self._ahead: deque[Job] = deque()  # later steps: what was begun is finished before more is begun
        self._retries: list[tuple[float, int, WaitReason, Job]] = []
        self._order = itertools.count()
        self.shelf: deque[Job] = deque()  # what cannot leave unless the budget is raised

    def __len__(self) -> int:
        """How many could leave at once, as far as this is concerned: retries that wait for their time are not in it."""
        return len(self._ahead) + len(self._new)

    def put(self, job: Job) -> None:
        """Take in a job that was not sent yet."""
        (self._ahead if job.places[0].step else self._new).append(job)

    def put_back(self, job: Job, *, due_at: float, reason: WaitReason) -> None:
        """Take in a job that is to be sent again, not before `due_at`."""
        heapq.heappush(self._retries, (due_at, next(self._order), reason, job))

    def unshelve(self) -> None:
        """There may be money again: what was shelved comes first, in its old order."""
        while self.shelf:
            job = self.shelf.pop()
            (self._ahead if job.places[0].step else self._new).appendleft(job)

    def pop(self, now: float, *, new_first: bool = False) -> Job | None:
        """The next one; None where nothing may leave now. With `new_first` what failed before comes last."""
        is_due = bool(self._retries) and self._retries[0][0] <= now
        if is_due and not (new_first and len(self)):
            return heapq.heappop(self._retries)[3]
        return self.pop_new()

    def pop_new(self) -> Job | None:
        """The next one that has not failed; None where there is none."""
        return (self._ahead or self._new).popleft() if len(self) else None

    def hasten(self, now: float) -> None:
        """What waits out a pause of our own is due at once, in its old order."""
        self._retries = [
            (now if reason is WaitReason.BACKOFF else due_at, order, reason, job)
            for due_at, order, reason, job in sorted(self._retries)
        ]
        heapq.heapify(self._retries)

    def due_s(self, now: float) -> float | None:
        """Seconds until a retry is due; None where there is none."""
        return self._retries[0][0] - now if self._retries else None

    def take_out(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Remove, and give in order, the jobs for which this holds."""
        everybody = [*self.shelf, *self._ahead, *self._new, *(entry[3] for entry in sorted(self._retries))]
        taken = [job for job in everybody if is_wanted(job)]
        gone = set(map(id, taken))
        self.shelf = deque(job for job in self.shelf if id(job) not in gone)
        self._ahead = deque(job for job in self._ahead if id(job) not in gone)
        self._new = deque(job for job in self._new if id(job) not in gone)
        self._retries = [entry for entry in self._retries if id(entry[3]) not in gone]
        heapq.heapify(self._retries)
        return taken

    def held(self, now: float) -> Counter[str]:
        """Jobs that wait for something of their own, by reason: for their time, or for another budget. The reason of
        retries that are due is QUEUE."""
        counts = Counter((reason if due_at > now else WaitReason.QUEUE).value for due_at, _, reason, _ in self._retries)
        counts[WaitReason.BUDGET.value] += len(self.shelf)
        return counts
