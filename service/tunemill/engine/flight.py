"""What is in flight at one model, since when, and how long answers take there: who holds a slot, and who hangs.

Plain: it is told what left, what landed and what was answered, and takes times. How long an answer may take is known
for each step apart, and only from answers to it: a step that writes long is not silent because another one is quick.

    left ──> holds a slot ──> landed
                  ├──> late: far longer under way than answers used to take; holds no slot any more ──> landed
                  └──> stranded: the provider was out and is back, and this was not answered; no slot either ──> landed
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from tunemill.engine.work import Job

PATIENCE_MIN_S = 5.0  # however quick answers are
SILENCE_MIN_S = 10.0  # a garbage collection or a deployment is no outage
PATIENCE_TIMES_SLOWEST = 3.0
FEW = 4  # so few that are late may be long answers: they are given twice the time
FORGET_PER_ANSWER = 0.995  # the slowest answer is forgotten by half within 140 answers
PROBES_OUT_MAX = 64
LOOK_S = 2.0


def in_flight_most(concurrency: int) -> int:
    """How many may be in flight at one model at the very most: those that hold slots, as many that hang, and probes."""
    return 2 * concurrency + PROBES_OUT_MAX


@dataclass(frozen=True, slots=True)
class Silence:
    """So many are late and nobody was answered since a time."""

    requests: int
    since: float


class Flights:
    """See the module."""

    __slots__ = ("_late", "_out", "_replied_at", "_slowest_s", "_stranded")

    def __init__(self, now: float) -> None:
        self._out: dict[str, OrderedDict[Job, float]] = {}  # by step, in the order in which they left
        self._late: dict[Job, float] = {}
        self._stranded: set[Job] = set()
        self._slowest_s: dict[str, float] = {}
        self._replied_at = now

    def left(self, job: Job, now: float) -> None:
        """A request is under way."""
        self._out.setdefault(job.request.step, OrderedDict())[job] = now

    def landed(self, job: Job) -> None:
        """It is not under way any more, whatever became of it."""
        if self._out[job.request.step].pop(job, None) is None and self._late.pop(job, None) is None:
            self._stranded.discard(job)

    def replied(self, now: float) -> None:
        """The provider said something, be it that it will not."""
        self._replied_at = now

    def answered(self, job: Job, now: float) -> None:
        """The provider answered. Called before the request has landed."""
        self._replied_at = now
        step = job.request.step
        left_at = self._out[step].get(job) or self._late.get(job)
        if left_at is not None:  # what was held up by an outage says nothing of how long answers take
            self._slowest_s[step] = max(now - left_at, self._slowest_s.get(step, 0.0) * FORGET_PER_ANSWER)

    def look(self, now: float) -> None:
        """See who has become late."""
        for step, out in self._out.items():
            patience_s = self._patience_s(step)
            while out and patience_s is not None and now - next(iter(out.values())) >= patience_s:
                job, left_at = out.popitem(last=False)
                self._late[job] = left_at

    def strand(self, ticket: int) -> None:
        """The provider was out and answered what left with this ticket: what left before it hangs."""
        for out in self._out.values():
            gone = list(_while_before(out, ticket))
            for job in gone:
                del out[job]
            self._stranded.update(gone)
        self._stranded.update(self._late)
        self._late.clear()

    @property
    def holding(self) -> int:
        """How many hold a slot."""
        return sum(map(len, self._out.values()))

    def silence(self, now: float) -> Silence | None:
        """Whether nobody is answered any more, told from who is late; None: somebody is, or it cannot be told yet."""
        if not self._late:
            return None
        patience_s = max(SILENCE_MIN_S, *(self._patience_s(job.request.step) or 0.0 for job in self._late))
        if len(self._late) < FEW:
            patience_s *= 2
        since = max(self._replied_at, min(self._late.values()))
        return Silence(len(self._late), since) if now - since >= patience_s else None

    def look_in_s(self, now: float) -> float | None:
        """After how many seconds a look may show something new; None where nobody is under way."""
        if self._late:
            return LOOK_S
        oldest = [(step, next(iter(out.values()))) for step, out in self._out.items() if out]
        waits = [left_at + (self._patience_s(step) or PATIENCE_MIN_S) - now for step, left_at in oldest]
        return max(LOOK_S, min(waits)) if waits else None

    def _patience_s(self, step: str) -> float | None:
        """None where no answer to the step was seen yet."""
        slowest_s = self._slowest_s.get(step)
        return None if slowest_s is None else max(PATIENCE_MIN_S, PATIENCE_TIMES_SLOWEST * slowest_s)


def _while_before(out: OrderedDict[Job, float], ticket: int) -> Iterator[Job]:
    for job in out:
        if job.ticket >= ticket:
            return
        yield job
