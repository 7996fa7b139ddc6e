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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count

from tunemill.clock import wait_for
from tunemill.engine import telling
from tunemill.engine.flight import PROBES_OUT_MAX
from tunemill.engine.lane import LaneWorker, Throttle
from tunemill.engine.owner import Attempt, Tools
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.retry import RetryLimits
from tunemill.engine.settled import Settled, SettledRows
from tunemill.engine.size import size_of
from tunemill.engine.work import (
    Counts,
    Ending,
    Executor,
    Job,
    Place,
    Renderer,
    Standing,
    Step,
    Unrenderable,
)
from tunemill.model import (
    Completion,
    Failure,
    FailureKind,
    Lane,
    Request,
    Row,
    RunState,
    WaitReason,
)
from tunemill.plan import Chain
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
        self._chain = Chain.of(steps)
        self._before = settled or Settled()
        self._settled = SettledRows(self._chain.requests_per_row, self._before)
        self._is_rendered_alike = True
        self.counts = Counts(
            planned=(rows_planned - self._before.duplicates) * self._chain.requests_per_row,
            completed=self._before.completed,
            failed=self._before.failed,
            duplicate_rows=self._before.duplicates,
            completed_by_step=dict(self._before.completed_by_step),
        )
        self._rows = rows
        self._steps = steps
        self._render = render
        self._tools = tools
        self._grace_s = grace_s
        self._lanes = {
            lane: LaneWorker(
                lane,
                of_lane,
                tools=tools,
                executor=executors[lane.provider],
                throttle=throttle(of_lane.requests_per_minute),
                owner=self,
            )
            for lane, of_lane in limits.items()
        }
        self._room = sum(of_lane.concurrency for of_lane in limits.values()) + ROOM_BESIDE_CONCURRENCY
        self._pending: dict[str, Job] = {}
        self._places = 0  # that pending jobs serve: a thousand rows may ask for the same
        self._upstream = 0  # places that read, directly or not, what pending jobs are to answer
        of_step = self._chain.counts
        self._below = [sum(of_step[step + 1 :]) // of_step[step] for step in range(len(of_step))]
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
            for lane in self._lanes.values():
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
                for lane in self._lanes.values():
                    lane.cut()
                await wait_for(self._landed, self._tools.clock, None)
            else:
                await wait_for(self._landed, self._tools.clock, rest)

    def _end(self, state: RunState, reason: str) -> None:
        """The first reason to end is the one that counts."""
        if self._ending is None:
            self._ending = Ending(state=state, reason=reason)
            self._over.set()
            self._has_room.set()
            for lane in self._lanes.values():
                lane.end()

    def _end_if_done(self) -> None:
        if self.is_walked and not self._pending:
            failed = self.counts.failed
            state = RunState.FINISHED_WITH_FAILURES if failed else RunState.FINISHED
            self._end(state, f"{failed} requests failed for good" if failed else "everything is answered")
        elif self.is_walked or not self._has_room_left():
            self._end_if_none_fits()

    def _end_if_none_fits(self) -> None:
        """Nothing is in flight or in line any more but what the budget is out of reach of."""
        shelves = [lane.queue.shelf for lane in self._lanes.values()]
        if sum(map(len, shelves)) == len(self._pending):
            shelved = [job for shelf in shelves for job in shelf]
            self._end(RunState.BUDGET_REACHED, telling.none_fits(self._tools.budget, [job.worst for job in shelved]))

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
        for job in self._pending.values():
            if job.troubled_since is not None:
                job.troubled_since = min(now, job.troubled_since + rested_s)
        for lane in self._lanes.values():
            lane.rested(rested_s)
        return rested_s

    @property
    def limits(self) -> Mapping[Lane, LaneLimits]:
        """The limits of each lane, as configured."""
        return {name: lane.gates.limits for name, lane in self._lanes.items()}

    def configure(self, limits: Mapping[Lane, LaneLimits], retry: RetryLimits | None = None) -> None:
        """Other limits for these lanes, from now on; None leaves those of retrying."""
        for name, of_lane in limits.items():
            self._lanes[name].configure(of_lane, retry)
        self._room = sum(of_lane.concurrency for of_lane in self.limits.values()) + ROOM_BESIDE_CONCURRENCY
        self._has_room.set()

    def render_by(self, render: Renderer) -> int:
        """Another renderer for everything that has not left; gives the number of requests that it made others.

        What is in flight and what is answered stays. A request that was sent in vain and comes out as another one is
        not sent again.
        """
        self._render = render
        self._is_rendered_alike = False
        changed = [job for lane in self._lanes.values() for job in lane.take_back(self._comes_out_otherwise)]
        for job in changed:
            self._forget(job)
        for job in changed:
            for place in job.places:
                self._advance(place)
        self._has_room.set()
        self._end_if_done()
        return len(changed)

    def _comes_out_otherwise(self, job: Job) -> bool:
        rendered = (self._render(place) for place in job.places)
        return any(isinstance(new, Unrenderable) or new.id != job.request.id for new in rendered)

    # -- rows and chains -----------------------------------------------------------------------------------------

    async def _walk(self) -> None:
        again, position = dict(self._before.unsettled), self._before.positions
        numbers = chain(again, count(self._before.walked))
        for walked, (number, row) in enumerate(zip(numbers, self._rows, strict=False), 1):
            here = again.get(number, position)
            if self._tools.recorder.row(here, row):
                position = max(position, here + 1)
                self._settled.began(row.id, number, here)
                await self._start_row(row)
            else:
                self._settled.was_copy(number)
                self.counts.planned -= self._chain.requests_per_row
                self.counts.duplicate_rows += 1
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
            self._advance(Place(row=row, step=0, sample=sample, texts={}))

    def _has_room_left(self) -> bool:
        shelved = sum(len(lane.queue.shelf) for lane in self._lanes.values())
        return self._places - min(shelved, SHELF_ROOM) < self._room

    def _advance(self, place: Place) -> None:
        """Bring one place on its way: sent already, on its way for another place, answered, or new."""
        request = self._render(place)
        if isinstance(request, Unrenderable):
            self._set_aside(place, FailureKind.BAD_REQUEST, request.message)
            return
        twin = self._pending.get(request.id)
        if twin is not None:
            self._tools.recorder.serve(place, request)
            twin.places.append(place)
            self._count_place(place, 1)
            return
        standing, attempts = self._tools.recorder.look_up(place, request)
        if standing is Standing.NEW:
            self._enqueue(place, request, attempts)
            return
        if standing is not Standing.KEPT:
            self._tools.recorder.serve(place, request)
        if standing is Standing.SET_ASIDE:
            self._failed(place, f"step {self._steps[place.step].name} failed")
        else:
            self._completed(place, lambda: self._tools.recorder.answer_at(place))

    def _enqueue(self, place: Place, request: Request, attempts: int) -> None:
        job = Job(
            request=request,
            places=[place],
            worst=self._tools.prices.worst(request),
            size=size_of(request),
            attempts=attempts,
        )
        self._pending[request.id] = job
        self._count_place(place, 1)
        self._lanes[request.lane].enqueue(job)

    def _completed(self, place: Place, read: Callable[[], Completion]) -> None:
        """Count a place as completed and go on with the step that reads it; `read` is called only if there is one."""
        step = self._steps[place.step]
        self.counts.completed += 1
        self.counts.completed_by_step[step.name] = self.counts.completed_by_step.get(step.name, 0) + 1
        self._settled.completed(place.row.id, step.name)
        if place.step + 1 == len(self._steps):
            return
        completion = read()
        if _is_usable(completion):
            texts = {**place.texts, step.name: completion.text}
            for child in self._children(place, texts):
                self._advance(child)
        else:
            self._set_aside_children(place, f"step {step.name} gave no text to go on with")

    def _failed(self, place: Place, message: str) -> None:
        self.counts.failed += 1
        self._settled.failed(place.row.id)
        self._set_aside_children(place, message)

    def _set_aside(self, place: Place, kind: FailureKind, message: str) -> None:
        step = self._steps[place.step]
        request_id = self._tools.recorder.set_aside(place, kind, message)
        if request_id is not None:
            self._tools.emit(telling.set_aside(request_id, place, step, kind, message))
        self._failed(place, f"step {step.name} failed")

    def _set_aside_children(self, place: Place, message: str) -> None:
        for child in self._children(place, place.texts):
            self._set_aside(child, FailureKind.UPSTREAM_FAILED, message)

    def _children(self, place: Place, texts: Mapping[str, str]) -> Iterator[Place]:
        for sample in self._chain.child_samples(place.step, place.sample):
            yield Place(row=place.row, step=place.step + 1, sample=sample, texts=texts)

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
        self._forget(job)
        for place in job.places:
            self._completed(place, lambda: completion)
        self._has_room.set()
        self._end_if_done()

    def gave_up(self, job: Job, failure: Failure) -> None:
        """Every place of the job is failed."""
        self._forget(job)
        for place in job.places:
            self._failed(place, f"step {self._steps[place.step].name} failed: {failure.kind.value}")
        self._has_room.set()
        self._end_if_done()

    def _forget(self, job: Job) -> None:
        del self._pending[job.request.id]
        for place in job.places:
            self._count_place(place, -1)

    def _count_place(self, place: Place, by: int) -> None:
        self._places += by
        self._upstream += by * self._below[place.step]

    def freed(self) -> None:
        """Money came free, or the cap is another, perhaps: whoever waits for it looks again."""
        if self._cap != self._tools.budget.cap:
            self._cap = self._tools.budget.cap
            for lane in self._lanes.values():
                lane.queue.unshelve()
        for lane in self._lanes.values():
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
        counts: Counter[str] = Counter()
        for lane in self._lanes.values():
            counts.update(lane.waiting())
        rest = self.counts.waiting - counts.total()
        upstream = min(rest, self._upstream)
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
        return self._settled.now(is_whole=self.is_walked) if self._is_rendered_alike else None

    def levels(self) -> tuple[LimitLevel, ...]:
        """Every limit of every lane."""
        now = self._tools.clock.monotonic()
        return tuple(level for lane in self._lanes.values() for level in lane.levels(now))

    def rates(self) -> tuple[float, float]:
        """Requests and tokens per minute, over all lanes."""
        now = self._tools.clock.monotonic()
        lanes = self._lanes.values()
        requests = sum(lane.gates.requests.per_minute(now) for lane in lanes)
        return requests, sum(lane.gates.tokens.per_minute(now) for lane in lanes)

    @property
    def circuits_open(self) -> int:
        """How many lanes only send probes."""
        return sum(lane.gates.circuit.is_open for lane in self._lanes.values())


def _is_usable(completion: Completion) -> bool:
    return completion.refusal is None and completion.finish_reason != "content_filter" and bool(completion.text.strip())
