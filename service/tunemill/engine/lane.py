"""One model of one provider: its queue, and the attempts that are under way there.

One task decides what leaves next and when; each attempt is a task of its own that sends, has the outcome written down
and only then counts it. A request that waits to be retried holds no slot. A lane that has to wait holds up no other.

    enqueue ──> queue ──> admit: budget, then the gates ──> attempt ──> answered
                  ^  └──> shelf, where no money can come free for it   ├──> given up
                  └──────── retry, after its delay <───────────────────┘
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol, TypeAlias, assert_never

from tunemill.clock import Clock, wait_for
from tunemill.engine import telling
from tunemill.engine.budget import Budget
from tunemill.engine.flight import in_flight_most
from tunemill.engine.gates import Gates, Wait
from tunemill.engine.health import Health, Listener
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.passage import Passage
from tunemill.engine.queue import JobQueue
from tunemill.engine.rates import Change
from tunemill.engine.retry import NO_ATTEMPT, Decision, GiveUp, RetryLimits, StopRun, TryAgain, decide, outage_too_long
from tunemill.engine.work import Executor, Job, Prices, Recorder
from tunemill.events import Event, LimitChanged
from tunemill.model import (
    Completion,
    Delivered,
    Failure,
    FailureKind,
    Lane,
    LimitHints,
    Reply,
    Undelivered,
    WaitReason,
)
from tunemill.statistics import LimitLevel

BAD_REQUESTS_TO_STOP = 20  # so many in a row, and never an answer: the recipe is wrong, not the rows

Attempt: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_OUTAGE_KINDS = frozenset(
    {
        FailureKind.OVERLOADED,
        FailureKind.SERVER_ERROR,
        FailureKind.GATEWAY_ERROR,
        FailureKind.TIMEOUT,
        FailureKind.NOT_CONNECTED,
        FailureKind.DISCONNECTED,
        FailureKind.BAD_REPLY,
    }
)


class Throttle(Protocol):
    """The outer guard of requests per minute."""

    def change(self, per_minute: float | None) -> None: ...

    async def acquire(self) -> None: ...


class Owner(Protocol):
    """What a lane asks and tells the dispatcher."""

    def is_ending(self) -> bool: ...

    def is_paused(self) -> bool: ...

    def spawn(self, attempt: Attempt) -> None: ...

    def landed(self) -> None: ...

    def answered(self, job: Job, completion: Completion) -> None: ...

    def gave_up(self, job: Job, failure: Failure) -> None: ...

    def freed(self) -> None: ...

    def shelved(self) -> None: ...

    def refused(self, message: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every lane of a run shares."""

    budget: Budget
    prices: Prices
    recorder: Recorder
    retry: RetryLimits
    clock: Clock
    random: Random
    emit: Callable[[Event], None]


class LaneWorker:
    """See the module."""

    def __init__(
        self, lane: Lane, limits: LaneLimits, *, tools: Tools, executor: Executor, throttle: Throttle, owner: Owner
    ) -> None:
        self.lane = lane
        self.in_flight = 0
        self.gates = Gates(limits, tools.clock.monotonic())
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
        self._timeout_s = limits.timeout_s
        self._tools = tools
        self._executor = executor
        self._owner = owner
        self._throttle = throttle
        self._retry = tools.retry
        self.queue = JobQueue()
        self._wake = asyncio.Event()
        self._head: Job | None = None
        self._reason = WaitReason.QUEUE
        self._waiting_for_reply: set[asyncio.Task[Any]] = set()
        self._at_throttle: asyncio.Task[Any] | None = None
        self._is_cut = False
        self._bad_requests = 0
        self._has_answered = False

    # -- what may change while it works --------------------------------------------------------------------------

    def configure(self, limits: LaneLimits, retry: RetryLimits | None) -> None:
        """Other limits, from now on; None leaves those of retrying."""
        now = self._tools.clock.monotonic()
        self._retry, self._timeout_s = retry or self._retry, limits.timeout_s
        changes = self.gates.configure(limits, now)
        self._throttle.change(self.gates.requests_per_minute)
        self._tell(changes)
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
            self._account(self._head, uncertain=0)
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
        if not self._is_cut:
            self._is_cut = True
            for task in self._waiting_for_reply:
                task.cancel()

    async def run(self) -> None:
        """Send what is in the queue, in order and within the limits, until the run ends."""
        while (job := await self._next()) is not None:
            limit = self.gates.never_fits(job.size, refusals=job.refusals)
            if limit is not None:
                await self._give_up(job, _too_large(self.gates.tokens_of(job.size), limit), None)
            elif await self._admit(job):
                self.in_flight += 1
                job.is_in_flight = True
                self._health.left(job)
                self._owner.spawn(partial(self._attempt, job))

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
        self._account(job, uncertain=0)
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
            self._account(job, uncertain=0)
            return Wait(WaitReason.PAUSED, None)
        budget = self._tools.budget
        if budget.is_exceeded:  # the cap was lowered
            self._account(job, uncertain=0)
        if not job.is_reserved:
            job.is_reserved = budget.reserve(job.worst)
        if not job.is_reserved:
            return Wait(WaitReason.BUDGET, None)
        if self.in_flight >= in_flight_most(self.gates.limits.concurrency):
            return Wait(WaitReason.CONCURRENCY, None)
        return self.gates.blocked(self._tools.clock.monotonic(), size=job.size, in_flight=self._health.holding)

    # -- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self, job: Job) -> None:
        job.attempts += 1
        try:
            await self._tools.recorder.sent(job.request, job.attempts, job.worst)
            sent_at = self._tools.clock.monotonic()
            assert job.passage is not None
            self.gates.left(job.passage, sent_at)
            self._tools.emit(telling.sent(job))
            reply = await self._send(job)
            now = self._tools.clock.monotonic()
            self._learn(reply.hints, job.passage, now)
            match reply:
                case Delivered():
                    self._health.answered(job, now)
                    await self._delivered(job, reply, now - sent_at)
                case Undelivered():
                    await self._undelivered(job, reply.failure, sent_at, now)
                case _:
                    assert_never(reply)
        finally:
            self._land(job)

    def _land(self, job: Job) -> None:
        """What becomes of the attempt is known, and durable: from now on it is counted as that, and not in flight."""
        if job.is_in_flight:
            job.is_in_flight = False
            self.in_flight -= 1
            self._health.landed(job)
            self._owner.landed()
            self._wake.set()

    async def _send(self, job: Job) -> Reply:
        if self._owner.is_ending():
            return _interrupted("the run was stopped before it left", may_be_billed=False)
        task = asyncio.current_task()
        assert task is not None
        self._waiting_for_reply.add(task)
        try:
            return await self._executor(job.request, self._timeout_s)
        except asyncio.CancelledError:
            if not self._is_cut or task.uncancel() > 0:
                raise
            return _interrupted("the run was stopped before the answer came", may_be_billed=True)
        finally:
            self._waiting_for_reply.discard(task)

    async def _delivered(self, job: Job, reply: Delivered, duration_s: float) -> None:
        completion = reply.completion
        usage = completion.usage
        # Where the provider does not say what it billed, the worst case is what it may have billed.
        cost = job.worst if usage is None else self._tools.prices.cost(self.lane, usage)
        await self._tools.recorder.completed(job.request, job.attempts, reply, cost, duration_s)
        self._tools.budget.settle(job.worst, cost)
        job.is_reserved = False
        self._bad_requests, self._has_answered = 0, True
        assert job.passage is not None
        input_tokens = None if usage is None else usage.input
        self.gates.answered(job.passage, input_tokens=input_tokens, in_flight=self._health.holding)
        if usage is not None:
            self.gates.tokens.add(self._tools.clock.monotonic(), usage.input + usage.output)
        self._tools.emit(telling.completed(job, completion, cost, duration_s))
        self._land(job)
        self._owner.answered(job, completion)
        self._owner.freed()

    async def _undelivered(self, job: Job, failure: Failure, sent_at: float, now: float) -> None:
        self._react(job, failure, sent_at, now)
        is_outage = self.gates.circuit.excuses(job.ticket)
        decision = self._decide(job, failure, now, is_outage=is_outage)
        match decision:
            case GiveUp():
                await self._give_up(job, failure, now - sent_at)
            case TryAgain():
                if failure.retry_after_s is not None and decision.reason is WaitReason.RETRY_AFTER:
                    # Before it is written down: meanwhile more would leave.
                    self.gates.pause(now + min(failure.retry_after_s, self._retry.outage_max_s))
                await self._record_failed_attempt(job, failure)
                delay_s = self._delay_s(decision, now)
                self._tools.emit(telling.attempt_failed(job, failure, delay_s, now - sent_at))
                self._land(job)
                self.queue.put_back(job, due_at=now + delay_s, reason=decision.reason)
            case StopRun():
                self._owner.refused(decision.message)  # at once: while the outcome is written, more would leave
                await self._record_failed_attempt(job, failure)
            case _:
                assert_never(decision)
        self._owner.freed()

    def _decide(self, job: Job, failure: Failure, now: float, *, is_outage: bool) -> Decision:
        is_no_attempt = failure.kind in NO_ATTEMPT
        circuit = self.gates.circuit
        if is_no_attempt:
            job.refusals += 1
            job.troubled_since = now if job.troubled_since is None else job.troubled_since
        elif failure.kind is not FailureKind.INTERRUPTED:
            self._count(job, is_outage=is_outage)
        refused_since = now if job.troubled_since is None else job.troubled_since
        return decide(
            failure,
            attempts=max(1, job.refusals if is_no_attempt else job.failures),
            troubled_s=circuit.open_for_s(now) if is_outage else now - refused_since,
            limits=self._retry,
            is_outage=is_outage,
            others_pass=not is_outage and circuit.progress_at > refused_since,
            random=self._tools.random,
        )

    def _count(self, job: Job, *, is_outage: bool) -> None:
        """Count a failed attempt against the request; what failed just before an outage was told is forgiven."""
        row = self.gates.circuit.row
        if job.failed_row != row:
            job.failed_row, job.failures_in_row = row, 0
        if is_outage:
            job.failures -= job.failures_in_row
            job.failures_in_row = 0
        else:
            job.failures += 1
            job.failures_in_row += 1

    def _delay_s(self, decision: TryAgain, now: float) -> float:
        """In an outage it is the next probe that is waited for."""
        if decision.reason is not WaitReason.BACKOFF:
            return decision.delay_s
        circuit = self.gates.circuit
        return 0.0 if circuit.is_open else max(decision.delay_s, circuit.judged_in_s(now))

    async def _record_failed_attempt(self, job: Job, failure: Failure) -> None:
        uncertain = job.worst if failure.may_be_billed else 0
        await self._tools.recorder.attempt_failed(job.request, job.attempts, failure, uncertain)
        self._account(job, uncertain)

    async def _give_up(self, job: Job, failure: Failure, duration_s: float | None) -> None:
        uncertain = job.worst if failure.may_be_billed else 0
        await self._tools.recorder.failed(job.request, job.attempts, failure, uncertain)
        self._account(job, uncertain)
        self._tools.emit(telling.failed(job, failure, duration_s))
        self._land(job)
        self._owner.gave_up(job, failure)

    def _account(self, job: Job, uncertain: int) -> None:
        if job.is_reserved:
            job.is_reserved = False
            if uncertain:
                self._tools.budget.doubt(job.worst)
            else:
                self._tools.budget.release(job.worst)

    # -- what replies teach --------------------------------------------------------------------------------------

    def _react(self, job: Job, failure: Failure, sent_at: float, now: float) -> None:
        if failure.status is not None:
            self._health.replied(now)
        if failure.kind is FailureKind.RATE_LIMITED:
            assert job.passage is not None
            self._tell(self.gates.rate_limited(job.passage, failure, now))
        elif failure.kind in _OUTAGE_KINDS:
            self._health.failed(job, failure, sent_at=sent_at, now=now)
        elif failure.kind is FailureKind.BAD_REQUEST:
            self._health.lives(job, now)
            self._bad_requests += 1
            if not self._has_answered and self._bad_requests >= BAD_REQUESTS_TO_STOP:
                said = f"{self._bad_requests} requests in a row were refused and none was answered; last: "
                self._owner.refused(said + failure.message)

    def _circuit_changed(self, is_open: bool) -> None:
        if not is_open:
            self.gates.recovered()
        self.queue.hasten(self._tools.clock.monotonic())
        self._wake.set()

    def _looked(self) -> None:
        """Slots may have come free; an outage may have lasted too long, although nothing came back to say so."""
        circuit, now = self.gates.circuit, self._tools.clock.monotonic()
        if circuit.is_outage and not self._owner.is_paused() and circuit.open_for_s(now) > self._retry.outage_max_s:
            self._owner.refused(outage_too_long(self._retry, last=self._health.last))
        self._wake.set()

    def _learn(self, hints: LimitHints, passage: Passage, now: float) -> None:
        changes = self.gates.learn(hints, passage, now)
        if changes:
            self._throttle.change(self.gates.requests_per_minute)
            self._tell(changes)

    def _tell(self, changes: list[Change]) -> None:
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
        provider, model = self.lane.provider, self.lane.model
        return self.gates.levels(
            now, model=f"{provider}/{model}" if provider else model, in_flight=self._health.holding
        )


def _interrupted(message: str, *, may_be_billed: bool) -> Undelivered:
    failure = Failure(kind=FailureKind.INTERRUPTED, message=message, may_be_billed=may_be_billed)
    return Undelivered(failure=failure, hints=LimitHints())


def _too_large(tokens: float, limit: float) -> Failure:
    message = (
        f"the provider would count {tokens:.0f} tokens for this request, more than tokens_per_minute = {limit:g} "
        "ever lets through: shorten the prompt, lower max_tokens or raise the limit"
    )
    return Failure(kind=FailureKind.TOO_LARGE, message=message, may_be_billed=False)
