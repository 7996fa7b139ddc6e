"""The run's journal in memory, with the rules of the real recorder: what unit tests of the engine use.

`MemoryJournal` is what is on disk and outlives a process; `MemoryRecorder` is one process's view of it. A line is on
disk when its coroutine returns, and half of its `write_s()` seconds of the clock before.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from tunemill.clock import Clock
from tunemill.engine import Place, Standing, Step
from tunemill.model import Completion, Delivered, Failure, FailureKind, Picodollars, Request, Row


class State(Enum):
    """What was last said of a request."""

    SENT = "sent"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(slots=True)
class Known:
    """A request that was sent or set aside."""

    state: State
    attempts: int = 0
    completion: Completion | None = None
    failed_in: int = -1  # the number of the process in which it failed for good


@dataclass(slots=True)
class MemoryJournal:
    """What is on disk."""

    requests: dict[str, Known] = field(default_factory=dict)
    slots: dict[tuple[str, str, int], str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    positions: dict[int, str] = field(default_factory=dict)
    unresolved: dict[str, Picodollars] = field(default_factory=dict)
    settled: Picodollars = 0
    uncertain: Picodollars = 0
    processes: int = 0
    failures: list[tuple[str, FailureKind, int]] = field(default_factory=list)  # request, why, attempts: for good
    attempts_failed: list[tuple[str, FailureKind]] = field(default_factory=list)

    def reopen(self) -> None:
        """What the next process does first: attempts without an outcome are closed at their worst case."""
        self.processes += 1
        for request_id, worst in self.unresolved.items():
            self.uncertain += worst
            self.attempts_failed.append((request_id, FailureKind.INTERRUPTED))
        self.unresolved.clear()

    def state_at(self, row_id: str, step: str, sample: int) -> State | None:
        """What became of a place."""
        known = self.requests.get(self.slots.get((row_id, step, sample), ""))
        return None if known is None else known.state


class MemoryRecorder:
    """See `tunemill.engine.Recorder`."""

    def __init__(
        self,
        journal: MemoryJournal,
        *,
        steps: Sequence[Step],
        clock: Clock,
        write_s: Callable[[], float] = lambda: 0.0,
        retry_failed: bool = False,
        keep_existing: bool = False,
    ) -> None:
        self.journal = journal
        self._steps = steps
        self._clock = clock
        self._write_s = write_s
        self._retry_failed = retry_failed
        self._keep_existing = keep_existing

    def row(self, position: int, row: Row) -> bool:
        journal = self.journal
        known = journal.rows.get(row.id)
        if known is not None and known <= position and journal.positions.get(known) == row.id:
            return known == position
        journal.rows[row.id] = position
        journal.positions[position] = row.id
        return True

    def source_ended(self, rows: int) -> None:
        self.journal.positions = {at: row for at, row in self.journal.positions.items() if at < rows}

    def look_up(self, place: Place, request: Request) -> tuple[Standing, int]:
        known = self.journal.requests.get(request.id)
        if known is not None and known.state is State.COMPLETED:
            return Standing.ANSWERED, known.attempts
        if self._keep_existing and self.journal.state_at(*self._slot(place)) is State.COMPLETED:
            return Standing.KEPT, 0
        if known is None:
            return Standing.NEW, 0
        is_old = known.failed_in < self.journal.processes
        if known.state is State.FAILED and not (self._retry_failed and is_old):
            return Standing.SET_ASIDE, known.attempts
        return Standing.NEW, known.attempts

    def serve(self, place: Place, request: Request) -> None:
        self.journal.slots[self._slot(place)] = request.id

    def answer_at(self, place: Place) -> Completion:
        known = self.journal.requests[self.journal.slots[self._slot(place)]]
        assert known.completion is not None
        return known.completion

    async def sent(self, request: Request, attempt: int, reserved: Picodollars) -> None:
        assert request.id not in self.journal.unresolved, "sent twice at the same time"
        async with self._writing():
            known = self.journal.requests.setdefault(request.id, Known(State.SENT))
            known.state, known.attempts = State.SENT, max(known.attempts, attempt)
            self.journal.slots[request.row_id, request.step, request.sample] = request.id
            self.journal.unresolved[request.id] = reserved

    async def completed(
        self,
        request: Request,
        attempt: int,
        reply: Delivered,
        cost: Picodollars,
        duration_s: float,
    ) -> None:
        async with self._writing():
            known = self._end(request, attempt)
            assert known.state is not State.COMPLETED, "completed twice"
            known.state, known.completion = State.COMPLETED, reply.completion
            self.journal.settled += cost

    async def attempt_failed(self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars) -> None:
        async with self._writing():
            self._end(request, attempt)
            self.journal.uncertain += uncertain
            self.journal.attempts_failed.append((request.id, failure.kind))

    async def failed(self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars) -> None:
        async with self._writing():
            if request.id in self.journal.unresolved:
                self._end(request, attempt)
            known = self.journal.requests.setdefault(request.id, Known(State.FAILED))
            self._fail(request.id, known, failure.kind)
            if attempt == 0:
                self.journal.slots[request.row_id, request.step, request.sample] = request.id
            self.journal.uncertain += uncertain

    def set_aside(self, place: Place, kind: FailureKind, message: str) -> str | None:
        slot = self._slot(place)
        request_id = hashlib.blake2b(repr(slot).encode(), digest_size=16).hexdigest()
        if self.journal.slots.get(slot) == request_id:
            return None
        self.journal.slots[slot] = request_id
        self._fail(request_id, self.journal.requests.setdefault(request_id, Known(State.FAILED)), kind)
        return request_id

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """What is said in the block is on disk after half of the time; whoever waits goes on after all of it."""
        half_s = self._write_s() / 2
        await self._clock.sleep(half_s)
        yield
        await self._clock.sleep(half_s)

    def _end(self, request: Request, attempt: int) -> Known:
        known = self.journal.requests[request.id]
        assert known.attempts == attempt, "an outcome of another attempt"
        del self.journal.unresolved[request.id]
        return known

    def _fail(self, request_id: str, known: Known, kind: FailureKind) -> None:
        known.state, known.failed_in = State.FAILED, self.journal.processes
        self.journal.failures.append((request_id, kind, known.attempts))

    def _slot(self, place: Place) -> tuple[str, str, int]:
        return place.row.id, self._steps[place.step].name, place.sample
