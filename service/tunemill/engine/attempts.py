"""The attempts at one model, each a task of its own: it sends, has the outcome written down and only then counts it.

    start ──> sent is durable ──> send ──> answered ──────────────────> durable, settled, landed ──> the owner
                                    │
                                    └────> failed ──> decide ─┬─> give up ──> durable, accounted, landed ──> the owner
                                                              ├─> try again, after a delay ──> durable ... ──> queue
                                                              └─> stop the run ──> the owner ──> durable ...

What a reply teaches goes to the gates and to whoever watches over the provider's health, whatever becomes of
the request.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

from tunemill.engine import telling
from tunemill.engine.gates import Gates
from tunemill.engine.health import Health
from tunemill.engine.owner import Owner, Tools
from tunemill.engine.queue import JobQueue
from tunemill.engine.rates import Change
from tunemill.engine.retry import NO_ATTEMPT, Decision, GiveUp, StopRun, TryAgain, decide
from tunemill.engine.work import Executor, Job
from tunemill.model import Delivered, Failure, FailureKind, LimitHints, Picodollars, Reply, Undelivered, WaitReason

BAD_REQUESTS_TO_STOP = 20  # so many in a row, and never an answer: the recipe is wrong, not the rows

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


class Attempts:
    """See the module. `retry` and `timeout_s` may change; `wake` is set when something landed that is waited for."""

    def __init__(
        self,
        *,
        gates: Gates,
        health: Health,
        queue: JobQueue,
        timeout_s: float,
        tools: Tools,
        executor: Executor,
        owner: Owner,
        changed: Callable[[list[Change]], None],
        wake: asyncio.Event,
    ) -> None:
        """What is to be tried again goes back to `queue`; `changed` is told which limits a reply changed."""
        self.retry = tools.retry
        self.timeout_s = timeout_s
        self.in_flight = 0
        self._gates = gates
        self._health = health
        self._queue = queue
        self._tools = tools
        self._executor = executor
        self._owner = owner
        self._changed = changed
        self._wake = wake
        self._waiting_for_reply: set[asyncio.Task[Any]] = set()
        self._is_cut = False
        self._bad_requests = 0
        self._has_answered = False

    def start(self, job: Job) -> None:
        """The job leaves now."""
        self.in_flight += 1
        job.is_in_flight = True
        self._health.left(job)
        self._owner.spawn(partial(self._attempt, job))

    def cut(self) -> None:
        """Whatever waits for a reply stops waiting. Outcomes that are being written are written."""
        if not self._is_cut:
            self._is_cut = True
            for task in self._waiting_for_reply:
                task.cancel()

    async def give_up(self, job: Job, failure: Failure, duration_s: float | None) -> None:
        """The request failed for good, after an attempt of so many seconds, or without one (None)."""
        uncertain = job.worst if failure.may_be_billed else 0
        await self._tools.recorder.failed(job.request, job.attempts, failure, uncertain)
        self.account(job, uncertain)
        self._tools.emit(telling.failed(job, failure, duration_s))
        self._land(job)
        self._owner.gave_up(job, failure)

    def account(self, job: Job, uncertain: Picodollars) -> None:
        """What is reserved for the job is in doubt, if any of it may have been billed, or free again."""
        if job.is_reserved:
            job.is_reserved = False
            if uncertain:
                self._tools.budget.doubt(job.worst)
            else:
                self._tools.budget.release(job.worst)

    async def _attempt(self, job: Job) -> None:
        job.attempts += 1
        try:
            await self._tools.recorder.sent(job.request, job.attempts, job.worst)
            sent_at = self._tools.clock.monotonic()
            assert job.passage is not None
            self._gates.left(job.passage, sent_at)
            self._tools.emit(telling.sent(job))
            reply = await self._send(job)
            now = self._tools.clock.monotonic()
            changes = self._gates.learn(reply.hints, job.passage, now)
            if changes:
                self._changed(changes)
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
            return await self._executor(job.request, self.timeout_s)
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
        cost = job.worst if usage is None else self._tools.prices.cost(job.request.lane, usage)
        await self._tools.recorder.completed(job.request, job.attempts, reply, cost, duration_s)
        self._tools.budget.settle(job.worst, cost)
        job.is_reserved = False
        self._bad_requests, self._has_answered = 0, True
        assert job.passage is not None
        input_tokens = None if usage is None else usage.input
        self._gates.answered(job.passage, input_tokens=input_tokens, in_flight=self._health.holding)
        if usage is not None:
            self._gates.tokens.add(self._tools.clock.monotonic(), usage.input + usage.output)
        self._tools.emit(telling.completed(job, completion, cost, duration_s))
        self._land(job)
        self._owner.answered(job, completion)
        self._owner.freed()

    async def _undelivered(self, job: Job, failure: Failure, sent_at: float, now: float) -> None:
        self._react(job, failure, sent_at, now)
        is_outage = self._gates.circuit.excuses(job.ticket)
        decision = self._decide(job, failure, now, is_outage=is_outage)
        match decision:
            case GiveUp():
                await self.give_up(job, failure, now - sent_at)
            case TryAgain():
                if failure.retry_after_s is not None and decision.reason is WaitReason.RETRY_AFTER:
                    # Before it is written down: meanwhile more would leave.
                    self._gates.pause(now + min(failure.retry_after_s, self.retry.outage_max_s))
                await self._record_failed_attempt(job, failure)
                delay_s = self._delay_s(decision, now)
                self._tools.emit(telling.attempt_failed(job, failure, delay_s, now - sent_at))
                self._land(job)
                self._queue.put_back(job, due_at=now + delay_s, reason=decision.reason)
            case StopRun():
                self._owner.refused(decision.message)  # at once: while the outcome is written, more would leave
                await self._record_failed_attempt(job, failure)
            case _:
                assert_never(decision)
        self._owner.freed()

    def _decide(self, job: Job, failure: Failure, now: float, *, is_outage: bool) -> Decision:
        is_no_attempt = failure.kind in NO_ATTEMPT
        circuit = self._gates.circuit
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
            limits=self.retry,
            is_outage=is_outage,
            others_pass=not is_outage and circuit.progress_at > refused_since,
            random=self._tools.random,
        )

    def _count(self, job: Job, *, is_outage: bool) -> None:
        """Count a failed attempt against the request; what failed just before an outage was told is forgiven."""
        row = self._gates.circuit.row
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
        circuit = self._gates.circuit
        return 0.0 if circuit.is_open else max(decision.delay_s, circuit.judged_in_s(now))

    async def _record_failed_attempt(self, job: Job, failure: Failure) -> None:
        uncertain = job.worst if failure.may_be_billed else 0
        await self._tools.recorder.attempt_failed(job.request, job.attempts, failure, uncertain)
        self.account(job, uncertain)

    def _react(self, job: Job, failure: Failure, sent_at: float, now: float) -> None:
        if failure.status is not None:
            self._health.replied(now)
        if failure.kind is FailureKind.RATE_LIMITED:
            assert job.passage is not None
            self._changed(self._gates.rate_limited(job.passage, failure, now))
        elif failure.kind in _OUTAGE_KINDS:
            self._health.failed(job, failure, sent_at=sent_at, now=now)
        elif failure.kind is FailureKind.BAD_REQUEST:
            self._health.lives(job, now)
            self._bad_requests += 1
            if not self._has_answered and self._bad_requests >= BAD_REQUESTS_TO_STOP:
                said = f"{self._bad_requests} requests in a row were refused and none was answered; last: "
                self._owner.refused(said + failure.message)


def _interrupted(message: str, *, may_be_billed: bool) -> Undelivered:
    failure = Failure(kind=FailureKind.INTERRUPTED, message=message, may_be_billed=may_be_billed)
    return Undelivered(failure=failure, hints=LimitHints())
