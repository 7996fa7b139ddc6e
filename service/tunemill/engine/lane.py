"""One model of one provider: its queue, and what of it leaves when.

One task decides that; what left is an attempt's affair (`engine/attempts`). A request that waits to be retried holds no
slot. A lane that has to wait holds up no other.

    enqueue ──> queue ──> admit: budget, then the gates ──> attempt ──> answered
                  ^  └──> shelf, where no money can come free for it   ├──> given up
                  └──────── retry, after its delay <───────────────────┘
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tunemill.clock import wait_for
from tunemill.engine.attempts import Attempts
from tunemill.engine.flight import in_flight_most
from tunemill.engine.gates import Gates, Wait
from tunemill.engine.health import Health, Listener
from tunemill.engine.owner import Owner, Tools
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.queue import JobQueue
from tunemill.engine.rates import Change
from tunemill.engine.retry import RetryLimits, outage_too_long
from tunemill.engine.work import Executor, Job
from tunemill.events import LimitChanged
from tunemill.model import Failure, FailureKind, Lane, WaitReason
from tunemill.statistics import LimitLevel


class Throttle(Protocol):
    """The outer guard of requests per minute."""

    def change(self, per_minute: float | None) -> None: ...

    async def acquire(self) -> None: ...


class LaneWorker:
    """See the module."""

    def __init__(
        self, lane: Lane, limits: LaneLimits, *, tools: Tools, executor: Executor, throttle: Throttle, owner: Owner
    ) -> None:
        self.lane = lane
        self.gates = Gates(limits, tools.clock.monotonic())
        self.queue = JobQueue()
        self._health = Health(
            lane,
            self.gates.circuit,
            tools.clock,
            Listener(
                emit=tools.emit,
                changed=self._circuit_changed,
                looked=self._looked,
                has_more=lambda: self._head is not None or len(self.queue) > 0,
            ),
        )
        self._wake = asyncio.Event()
        self._attempts = Attempts(
            gates=self.gates,
            health=self._health,
            queue=self.queue,
            timeout_s=limits.timeout_s,
            tools=tools,
            executor=executor,
            owner=owner,
            changed=self._limits_changed,
            wake=self._wake,
        )
        self._tools = tools
        self._owner = owner
        self._throttle = throttle
        self._head: Job | None = None
        self._reason = WaitReason.QUEUE
        self._at_throttle: asyncio.Task[Any] | None = None

    # -- what may change while it works --------------------------------------------------------------------------

    def configure(self, limits: LaneLimits, retry: RetryLimits | None) -> None:
        """Other limits, from now on; None leaves those of retrying."""
        now = self._tools.clock.monotonic()
        self._attempts.retry, self._attempts.timeout_s = retry or self._attempts.retry, limits.timeout_s
        self._limits_changed(self.gates.configure(limits, now))
        self._wake.set()

    def rested(self, seconds: float) -> None:
        """Nothing was sent for so long because somebody wanted it so: that was no outage."""
        self.gates.circuit.rested(seconds, self._tools.clock.monotonic())
        self._wake.set()

    def take_back(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Give back, in order, the jobs that wait here and for which this holds. What has left stays."""
        taken = self.queue.take_out(is_wanted)
        if self._head is not None and is_wanted(self._head):
            taken.insert(0, self._head)
            self._attempts.account(self._head, uncertain=0)
            self._head = None
        self._wake.set()
        return taken

    # -- the dispatching task ------------------------------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        """Take a job into the queue."""
        self.queue.put(job)
        self._wake.set()

    def wake(self) -> None:
        """Something changed that this lane may be waiting for."""
        self._wake.set()

    def end(self) -> None:
        """The run ends: nothing leaves any more, not even what waits at the throttle."""
        self._wake.set()
        self._health.stop()
        if self._at_throttle is not None:
            self._at_throttle.cancel()

    def cut(self) -> None:
        """The grace is over: whatever waits for a reply stops waiting. Outcomes that are being written are written."""
        self._attempts.cut()

    async def run(self) -> None:
        """Send what is in the queue, in order and within the limits, until the run ends."""
        while (job := await self._next()) is not None:
            limit = self.gates.never_fits(job.size, refusals=job.refusals)
            if limit is not None:
                await self._attempts.give_up(job, _too_large(self.gates.tokens_of(job.size), limit), None)
            elif await self._admit(job):
                self._attempts.start(job)

    async def _next(self) -> Job | None:
        while not self._owner.is_ending():
            now = self._tools.clock.monotonic()
            circuit = self.gates.circuit
            judged_in_s = circuit.judged_in_s(now)  # until then nobody tries again: it may be no fault of theirs
            # While somebody fails, others tell more than the same one again would.
            job = self.queue.pop_new() if judged_in_s else self.queue.pop(now, new_first=circuit.failures > 0)
            if job is not None:
                return job
            due_s = self.queue.due_s(now)
            await wait_for(self._wake, self._tools.clock, None if due_s is None else max(due_s, judged_in_s))
        return None

    async def _admit(self, job: Job) -> bool:
        """Return when the job may leave; False where the run ends, or the job is taken back or shelved, first."""
        self._head = job
        while self._head is job and not self._owner.is_ending():
            wait = self._blocked(job)
            if wait is not None and wait.reason is WaitReason.BUDGET and not self._tools.budget.reaches(job.worst):
                self._shelve(job)
            elif wait is not None:
                self._reason = wait.reason
                await wait_for(self._wake, self._tools.clock, wait.seconds)
            elif await self._pass_throttle() and self._may_still_leave(job):
                job.passage = self.gates.took(self._tools.clock.monotonic(), size=job.size)
                self._head = None
                return True
        self._attempts.account(job, uncertain=0)
        self._head = None
        return False

    def _shelve(self, job: Job) -> None:
        """Even if what is in flight costs nothing, this request will not fit. Others may."""
        self._head = None
        self.queue.shelf.append(job)
        self._owner.shelved()

    def _may_still_leave(self, job: Job) -> bool:
        """Whether nobody said otherwise while it waited at the throttle."""
        return self._head is job and not self._owner.is_paused() and not self._tools.budget.is_exceeded

    async def _pass_throttle(self) -> bool:
        """Return when the throttle lets one more through; False where the run ends first."""
        self._reason = WaitReason.REQUESTS_PER_MINUTE
        task = self._at_throttle = asyncio.current_task()
        assert task is not None
        try:
            await self._throttle.acquire()
        except asyncio.CancelledError:
            if not self._owner.is_ending() or task.uncancel() > 0:
                raise
        finally:
            self._at_throttle = None
        return not self._owner.is_ending()

    def _blocked(self, job: Job) -> Wait | None:
        if self._owner.is_paused():
            self._attempts.account(job, uncertain=0)
            return Wait(WaitReason.PAUSED, None)
        budget = self._tools.budget
        if budget.is_exceeded:  # the cap was lowered
            self._attempts.account(job, uncertain=0)
        if not job.is_reserved:
            job.is_reserved = budget.reserve(job.worst)
        if not job.is_reserved:
            return Wait(WaitReason.BUDGET, None)
        if self._attempts.in_flight >= in_flight_most(self.gates.limits.concurrency):
            return Wait(WaitReason.CONCURRENCY, None)
        return self.gates.blocked(self._tools.clock.monotonic(), size=job.size, in_flight=self._health.holding)

    # -- what it is told of ---------------------------------------------------------------------------------------

    def _circuit_changed(self, is_open: bool) -> None:
        if not is_open:
            self.gates.recovered()
        self.queue.hasten(self._tools.clock.monotonic())
        self._wake.set()

    def _looked(self) -> None:
        """Slots may have come free; an outage may have lasted too long, although nothing came back to say so."""
        circuit, now = self.gates.circuit, self._tools.clock.monotonic()
        retry = self._attempts.retry
        if circuit.is_outage and not self._owner.is_paused() and circuit.open_for_s(now) > retry.outage_max_s:
            self._owner.refused(outage_too_long(retry, last=self._health.last))
        self._wake.set()

    def _limits_changed(self, changes: list[Change]) -> None:
        self._throttle.change(self.gates.requests_per_minute)
        for change in changes:
            event = LimitChanged(lane=self.lane, kind=change.kind, limit=change.limit, cause=change.cause)
            self._tools.emit(event)

    # -- figures -------------------------------------------------------------------------------------------------

    def waiting(self) -> Counter[str]:
        """Jobs that wait, by reason."""
        counts = self.queue.held(self._tools.clock.monotonic())
        at_the_gate = len(self.queue) + (self._head is not None) + counts.pop(WaitReason.QUEUE.value, 0)
        if at_the_gate:
            counts[self._reason.value] += at_the_gate
        return counts

    def levels(self, now: float) -> list[LimitLevel]:
        """Each limit that is known, with how much of it is used."""
        return self.gates.levels(now, model=self.name, in_flight=self._health.holding)

    @property
    def name(self) -> str:
        """The model as figures name it, with its provider where it is not the recipe's first."""
        provider, model = self.lane.provider, self.lane.model
        return f"{provider}/{model}" if provider else model


def _too_large(tokens: float, limit: float) -> Failure:
    message = (
        f"the provider would count {tokens:.0f} tokens for this request, more than tokens_per_minute = {limit:g} "
        "ever lets through: shorten the prompt, lower max_tokens or raise the limit"
    )
    return Failure(kind=FailureKind.TOO_LARGE, message=message, may_be_billed=False)
