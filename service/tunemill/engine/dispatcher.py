"""The one brain of a run: walks the rows, hands requests to the lanes of their models, follows each chain of steps, and
decides when it is over.

Memory depends on what is under way: rows are walked only as far as there is room, and what was answered is forgotten as
soon as the steps that read it were rendered.

    RUNNING ── every place completed or failed ──────────────> FINISHED, FINISHED_WITH_FAILURES
    RUNNING ── no request in line can fit the cap any more ──> BUDGET_REACHED
    RUNNING ── bad key, quota, model gone, outage too long ──> REFUSED
    RUNNING ── drain() ─────────────────────────────────────-> INTERRUPTED
    before the last three, what is in flight is awaited for the grace, and kept

While it works it can be paused (nothing leaves, what is in flight arrives) and steered: other limits, and other
templates for everything that has not left.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count

from tunemill.clock import wait_for
from tunemill.engine import telling
from tunemill.engine.flight import PROBES_OUT_MAX
from tunemill.engine.lane import Throttle
from tunemill.engine.lanes import Lanes
from tunemill.engine.owner import Attempt, Tools
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.places import Places
from tunemill.engine.retry import RetryLimits
from tunemill.engine.settled import Settled
from tunemill.engine.work import Ending, Executor, Job, Place, Renderer, Step
from tunemill.model import Completion, Failure, Lane, Row, RunState, WaitReason
from tunemill.statistics import LimitLevel

ROOM_BESIDE_CONCURRENCY = 64 + PROBES_OUT_MAX  # probes that hang must not use up what there is to probe with
SHELF_ROOM = 512  # so many that the budget is out of reach of are walked past, to look for some that still fit
ROWS_A_BREATH = 100  # after so many rows that need nothing, others get a turn


class Dispatcher:
    """See the module. `run` returns how it ended; `drain` and `abort` end it early."""

    def __init__(
        self,
        *,
        rows: Iterator[Row],
        rows_planned: int,
        steps: Sequence[Step],
        render: Renderer,
        limits: Mapping[Lane, LaneLimits],
        executors: Mapping[str, Executor],
        throttle: Callable[[float | None], Throttle],
        tools: Tools,
        grace_s: float,
        settled: Settled | None = None,
    ) -> None:
        """`rows` are all rows of the source; with `settled`, those that it says are unsettled, and what comes after."""
        self._before = settled or Settled()
        self._lanes = Lanes(limits, executors=executors, throttle=throttle, tools=tools, owner=self)
        self._places = Places(
            steps=steps, rows_planned=rows_planned, before=self._before, render=render, tools=tools, lanes=self._lanes
        )
        self.counts = self._places.counts
        self._rows = rows
        self._steps = steps
        self._tools = tools
        self._grace_s = grace_s
        self._room = self._lanes.concurrency + ROOM_BESIDE_CONCURRENCY
        self._cap = tools.budget.cap
        self._has_room = asyncio.Event()
        self.is_walked = False
        self._ending: Ending | None = None
        self._over = asyncio.Event()
        self._landed = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._is_aborted = False
        self._paused_at: float | None = None
        self._cut_at: float | None = None  # when the grace is over

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Work until everything is completed or failed, or until something ends it. Raises RunFolderUnwritable."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for lane in self._lanes.each:
                tasks.create_task(lane.run())
            tasks.create_task(self._walk())
            await self._over.wait()
            await self._land()
        assert self._ending is not None
        return self._ending

    def drain(self, reason: str) -> None:
        """Send nothing more, keep what arrives within the grace, then end as interrupted."""
        self._end(RunState.INTERRUPTED, reason)

    def abort(self) -> None:
        """Wait for nothing that is in flight any more."""
        self._is_aborted = True
        self._landed.set()

    async def _land(self) -> None:
        """Wait for what is in flight: as long as it takes when all is done anyway, for the grace otherwise."""
        self._cut_at = self._tools.clock.monotonic() + self._grace_s
        while self._sending:
            rest = self._cut_at - self._tools.clock.monotonic()
            if self._is_aborted or rest <= 0:
                self._lanes.cut()
                await wait_for(self._landed, self._tools.clock, None)
            else:
                await wait_for(self._landed, self._tools.clock, rest)

    def _end(self, state: RunState, reason: str) -> None:
        """The first reason to end is the one that counts."""
        if self._ending is None:
            self._ending = Ending(state=state, reason=reason)
            self._over.set()
            self._has_room.set()
            self._lanes.end()

    def _end_if_done(self) -> None:
        if self.is_walked and not self._places.pending:
            failed = self.counts.failed
            state = RunState.FINISHED_WITH_FAILURES if failed else RunState.FINISHED
            self._end(state, f"{failed} requests failed for good" if failed else "everything is answered")
        elif self.is_walked or not self._has_room_left():
            self._end_if_none_fits()

    def _end_if_none_fits(self) -> None:
        """Nothing is in flight or in line any more but what the budget is out of reach of."""
        if self._lanes.count_shelved() == len(self._places.pending):
            worst = [job.worst for job in self._lanes.shelved()]
            self._end(RunState.BUDGET_REACHED, telling.none_fits(self._tools.budget, worst))

    # -- steering ------------------------------------------------------------------------------------------------

    def is_paused(self) -> bool:
        """Whether nothing leaves until `resume`."""
        return self._paused_at is not None

    def pause(self) -> None:
        """Send nothing more until `resume`; what is in flight arrives and is kept."""
        if self._paused_at is None:
            self._paused_at = self._tools.clock.monotonic()
            self.freed()

    def resume(self) -> float:
        """Go on, at the paced rate; gives the seconds of rest. They are no outage, and nobody's patience is used up."""
        if self._paused_at is None:
            return 0.0
        now = self._tools.clock.monotonic()
        rested_s, self._paused_at = now - self._paused_at, None
        for job in self._places.pending.values():
            if job.troubled_since is not None:
                job.troubled_since = min(now, job.troubled_since + rested_s)
        self._lanes.rested(rested_s)
        return rested_s

    @property
    def limits(self) -> Mapping[Lane, LaneLimits]:
        """The limits of each lane, as configured."""
        return self._lanes.limits

    def configure(self, limits: Mapping[Lane, LaneLimits], retry: RetryLimits | None = None) -> None:
        """Other limits for these lanes, from now on; None leaves those of retrying."""
        self._lanes.configure(limits, retry)
        self._room = self._lanes.concurrency + ROOM_BESIDE_CONCURRENCY
        self._has_room.set()

    def render_by(self, render: Renderer) -> int:
        """Another renderer for everything that has not left; gives the number of requests that it made others.

        What is in flight and what is answered stays. A request that was sent in vain and comes out as another one is
        not sent again.
        """
        places = self._places
        places.render_by(render)
        changed = self._lanes.take_back(places.comes_out_otherwise)
        for job in changed:
            places.forget(job)
        for job in changed:
            for place in job.places:
                places.advance(place)
        self._has_room.set()
        self._end_if_done()
        return len(changed)

    # -- the walk ------------------------------------------------------------------------------------------------

    async def _walk(self) -> None:
        again, position = dict(self._before.unsettled), self._before.positions
        numbers = chain(again, count(self._before.walked))
        for walked, (number, row) in enumerate(zip(numbers, self._rows, strict=False), 1):
            here = again.get(number, position)
            if self._places.began(row, number, here):
                position = max(position, here + 1)
                await self._start_row(row)
            if walked % ROWS_A_BREATH == 0:
                await asyncio.sleep(0)
            if self.is_ending():
                return
        self._tools.recorder.source_ended(position)
        self.is_walked = True
        self._end_if_done()

    async def _start_row(self, row: Row) -> None:
        if not self._steps:
            return
        for sample in range(self._steps[0].samples):
            while not (self._has_room_left() or self.is_ending()):
                self._end_if_done()
                await wait_for(self._has_room, self._tools.clock, None)
            if self.is_ending():
                return
            self._places.advance(Place(row=row, step=0, sample=sample, texts={}))

    def _has_room_left(self) -> bool:
        return self._places.count - min(self._lanes.count_shelved(), SHELF_ROOM) < self._room

    # -- what lanes tell -----------------------------------------------------------------------------------------

    def is_ending(self) -> bool:
        """Whether nothing new is sent any more."""
        return self._ending is not None

    def spawn(self, attempt: Attempt) -> None:
        """Start an attempt as a task of the run's task group."""
        assert self._tasks is not None
        self.counts.in_flight += 1
        task = self._tasks.create_task(attempt())
        self._sending.add(task)
        task.add_done_callback(self._sending_ended)

    def _sending_ended(self, task: asyncio.Task[None]) -> None:
        self._sending.remove(task)
        self._landed.set()

    def landed(self) -> None:
        """One attempt less is in flight."""
        self.counts.in_flight -= 1

    def answered(self, job: Job, completion: Completion) -> None:
        """Every place of the job is completed."""
        self._places.forget(job)
        for place in job.places:
            self._places.completed(place, lambda: completion)
        self._has_room.set()
        self._end_if_done()

    def gave_up(self, job: Job, failure: Failure) -> None:
        """Every place of the job is failed."""
        self._places.forget(job)
        for place in job.places:
            self._places.failed(place, f"step {self._steps[place.step].name} failed: {failure.kind.value}")
        self._has_room.set()
        self._end_if_done()

    def freed(self) -> None:
        """Money came free, or the cap is another, perhaps: whoever waits for it looks again."""
        if self._cap != self._tools.budget.cap:
            self._cap = self._tools.budget.cap
            self._lanes.unshelve()
        for lane in self._lanes.each:
            lane.wake()

    def shelved(self) -> None:
        """The budget is out of reach of a request; rows behind it may ask for less."""
        self._has_room.set()
        self._end_if_done()

    def refused(self, message: str) -> None:
        """The provider will not go on."""
        self._end(RunState.REFUSED, message)

    @property
    def is_over(self) -> bool:
        """Whether nothing is in flight any more and nothing will be."""
        return self._ending is not None and not self._sending

    # -- figures -------------------------------------------------------------------------------------------------

    def waiting_for(self) -> dict[str, int]:
        """Everything that waits, by reason; sums to `counts.waiting`."""
        if self.is_paused():  # whatever else it would wait for comes after that
            return {WaitReason.PAUSED.value: self.counts.waiting} if self.counts.waiting else {}
        counts = self._lanes.waiting()
        rest = self.counts.waiting - counts.total()
        upstream = min(rest, self._places.upstream)
        counts[WaitReason.UPSTREAM.value] += upstream
        counts[WaitReason.QUEUE.value] += rest - upstream
        return {reason: count for reason, count in counts.items() if count > 0}

    def grace_left_s(self) -> float | None:
        """Seconds for which what is in flight is still awaited; None where nothing ends."""
        if self._cut_at is None or not self._sending:
            return None
        return max(0.0, self._cut_at - self._tools.clock.monotonic())

    def settled(self) -> Settled | None:
        """How far the walk has come; None where not all of it was rendered by the renderer that it began with."""
        return self._places.settled(is_whole=self.is_walked)

    def levels(self) -> tuple[LimitLevel, ...]:
        """Every limit of every lane."""
        return self._lanes.levels()

    def rates(self) -> tuple[float, float]:
        """Requests and tokens per minute, over all lanes."""
        return self._lanes.rates()

    @property
    def circuits(self) -> dict[str, bool]:
        """Which models are only sent probes."""
        return self._lanes.circuits
