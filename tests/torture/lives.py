"""A run's whole life in simulated hours: processes that are killed, drained, aborted, paused, refused and short of
money, one after the other, each on what the one before made durable; the last one finishes. All of it from one seed.

What must hold is checked at every turn of the event loop (`World.check_sums`), after every process, and at the end.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any

from tests.engine.engine_support import MODEL, OTHER, Luck, World, renderer, row_of, rows, step, worst
from tests.engine.test_simulations import expect_an_end
from tests.support.recorder import State
from tests.torture.weather import BAD, CALM, DOOMING, PASSING, Sky, climate_of

from tunemill.engine import Ending, LaneLimits, Place, RetryLimits, Unrenderable
from tunemill.engine.flight import in_flight_most
from tunemill.events import Event
from tunemill.model import FailureKind, Request, Row, RunState

K = FailureKind
ENOUGH = 10**15
PROCESSES_MAX = 6
LIFE_S_MAX = 30 * 86_400.0
DONE = (RunState.FINISHED, RunState.FINISHED_WITH_FAILURES)


class BriefWorld(World):
    """A world that looks at why everything waits after every eighth event only: that takes longer than all else."""

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) % 8 == 0:
            self.check()


class Life:
    """One seed's life. `processes` and `hours` say how long it was."""

    def __init__(self, seed: int | str) -> None:
        self.luck = Random(f"life {seed}")
        luck = self.luck
        self.source = _rows_of(luck)
        steps = [
            step(f"step{number}", luck.choice([1, 1, 2, 3]), luck.choice([MODEL, OTHER]))
            for number in range(luck.choice([1, 1, 2, 3]))
        ]
        self.world = BriefWorld(
            luck.randrange(10**9),
            steps=steps,
            limits={lane: _limits_of(luck) for lane in (MODEL, OTHER)},
            luck=Luck(no_usage=luck.choice([0.0, 0.1]), useless=luck.choice([0.0, 0.1])),
            retry=RetryLimits(
                attempts_max=luck.choice([1, 3, 6]), outage_max_s=luck.choice([60.0, 600.0, 1800.0])
            ),
            write_s=luck.choice([(0.0, 0.0), (0.0, 0.02), (0.1, 1.0)]),
            grace_s=luck.choice([0.0, 30.0]),
        )  # fmt: skip
        self.began = self.world.clock.monotonic()
        self.sky = Sky(self.world.clock, self.world.random, self.world.provider.luck, climate_of(luck, self.began))
        self.world.provider = self.sky
        self.processes = 0
        self.endings: Counter[str] = Counter()

    @property
    def hours(self) -> float:
        """Simulated."""
        return (self.world.clock.monotonic() - self.began) / 3600

    async def live(self) -> None:
        """All of it."""
        luck, world = self.luck, self.world
        typical = max(worst(request) for request in self._first_requests()) if self.source else 1
        world.cap = luck.choice([None, ENOUGH, typical * luck.randint(0, 60)])
        for _ in range(luck.randint(0, PROCESSES_MAX)):
            ending = await self._process(luck.choice([self._to_the_end, self._killed, self._stopped]))
            self._check(ending)
            if ending is not None and ending.state is RunState.BUDGET_REACHED and world.cap is not None:
                world.cap += typical * luck.randint(1, 60)
        world.cap = None if world.cap is None else ENOUGH
        self.sky.dooms, self.sky.climate = None, CALM
        ending = await self._process(self._undisturbed)
        self._check(ending)
        assert ending is not None
        assert ending.state in DONE, ending
        expect_an_end(world, self.source)

    # -- processes -----------------------------------------------------------------------------------------------

    async def _process(self, how: Callable[[], Coroutine[Any, Any, Ending | None]]) -> Ending | None:
        """One process; None where it was killed."""
        self.processes += 1
        self.sky.dooms = None
        self.world.open(self.source, retry_failed=self.luck.random() < 0.2)
        return await self.world.clock.run(how(), each_turn=self._each_turn)

    def _each_turn(self) -> None:
        self.world.check_sums()
        assert self.world.clock.monotonic() - self.began < LIFE_S_MAX, "it does not get on"

    async def _undisturbed(self) -> Ending:
        return await self.world.dispatcher.run()

    async def _to_the_end(self) -> Ending:
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(self.world.dispatcher.run())
            steering = [tasks.create_task(self._doom()), tasks.create_task(self._steer())]
            ending = await run
            for task in steering:
                task.cancel()
        return ending

    async def _killed(self) -> Ending | None:
        """No clean-up: what the journal had at that moment is all that there is."""
        run = asyncio.create_task(self.world.dispatcher.run())
        timer = asyncio.create_task(self.world.clock.sleep(self._some_time()))
        await asyncio.wait([run, timer], return_when=asyncio.FIRST_COMPLETED)
        on_disk = copy.deepcopy(self.world.journal)
        is_over = run.done()
        for task in (run, timer):
            task.cancel()
        await asyncio.gather(run, timer, return_exceptions=True)
        self.world.journal = on_disk
        return run.result() if is_over else None

    async def _stopped(self) -> Ending:
        """Drained, and perhaps aborted a little later."""
        dispatcher = self.world.dispatcher
        run = asyncio.create_task(dispatcher.run())
        timer = asyncio.create_task(self.world.clock.sleep(self._some_time()))
        await asyncio.wait([run, timer], return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        before = len(self.sky.sendings)
        is_over = run.done()
        dispatcher.drain("stopped")
        asked = self.world.clock.monotonic()
        if self.luck.random() < 0.5:
            await self.world.clock.sleep(self.luck.choice([0.0, 5.0]))
            dispatcher.abort()
        ending = await run
        assert len(self.sky.sendings) == before, "something left after the drain"
        slowest_s = 4 * self.world._write_s[1] + self.world._grace_s + 6.0
        took_s = self.world.clock.monotonic() - asked
        assert is_over or ending.state in DONE or took_s <= slowest_s, (took_s, slowest_s)
        return ending

    async def _doom(self) -> None:
        """Perhaps, some time, the provider will not go on."""
        if self.luck.random() < 0.15:
            await self.world.clock.sleep(self._some_time())
            self.sky.dooms = self.luck.choice(DOOMING)

    async def _steer(self) -> None:
        """Rest now and then, and have another cap, never below what is committed."""
        for _ in range(self.luck.choice([0, 0, 2])):
            await self.world.clock.sleep(self._some_time())
            dispatcher, budget = self.world.dispatcher, self.world.budget
            if budget.cap is not None and self.luck.random() < 0.5:
                self.world.cap = budget.committed + self.luck.choice([0, budget.cap])
                budget.change_cap(self.world.cap)
                dispatcher.freed()
            else:
                dispatcher.pause()
                await self.world.clock.sleep(self._some_time())
                dispatcher.resume()

    def _some_time(self) -> float:
        return self.luck.choice([0.0, self.luck.expovariate(1 / 5), self.luck.expovariate(1 / 600)])

    # -- what must hold ------------------------------------------------------------------------------------------

    def _check(self, ending: Ending | None) -> None:
        """After a process: money against the provider's books, sendings, failures, and why it ended."""
        world, sky, journal = self.world, self.sky, self.world.journal
        counted = journal.settled + journal.uncertain + sum(journal.unresolved.values())
        assert sky.billed <= counted
        assert world.cap is None or counted <= world.cap, (counted, world.cap)
        failed = Counter(request for request, _ in journal.attempts_failed)
        ended = Counter(request for request, known in journal.requests.items() if known.state is State.COMPLETED)
        ended.update(request for request, _, _ in journal.failures)
        for request, times in sky.times.items():
            assert times <= failed[request] + ended[request] + (request in journal.unresolved), request
        for lane, limits in world._limits.items():
            assert sky.most_by_lane[lane] <= in_flight_most(limits.concurrency), (lane, sky.most_by_lane)
        self._check_rate()
        self._check_failures()
        self.endings["killed" if ending is None else ending.state.value] += 1
        if ending is not None:
            world.check()
            assert not journal.unresolved
            assert world.budget.reserved == 0
            assert ending.state is not RunState.REFUSED or self._may_be_refused(), ending

    def _check_failures(self) -> None:
        """Whatever failed for good had its reason, and enough tries."""
        of_outage = set(PASSING) - {K.RATE_LIMITED}
        for request, kind, _ in self.world.journal.failures:
            given = Counter(self.sky.given[request])
            match kind:
                case K.RATE_LIMITED | K.NOT_CONNECTED:  # by time and not by number: from the first one to another
                    assert given[K.RATE_LIMITED] + given[K.NOT_CONNECTED] >= 2
                case K.BAD_REQUEST | K.UPSTREAM_FAILED | K.TOO_LARGE:
                    assert kind is not K.BAD_REQUEST or given[kind] or request not in self.sky.times
                case _:
                    assert kind in of_outage, kind
                    assert sum(given[of] for of in of_outage) >= self.world._retry.attempts_max

    def _check_rate(self) -> None:
        """Of what is known of the requests a minute, no more is used, in any minute; a slow disk may bunch some."""
        for lane, limits in self.world._limits.items():
            if limits.requests_per_minute is None:
                continue
            times = [sending.at for sending in self.sky.sendings if sending.request.lane == lane]
            allowed = int(limits.requests_per_minute * (1 + (self.world._write_s[1] + 0.3) / 60)) + 2
            # Each process begins with an empty schedule; at most so many of them began within a minute.
            allowed += self.processes
            for first, last in zip(times, times[allowed:], strict=False):
                assert last - first >= 60.0, (lane, allowed, last - first)

    def _may_be_refused(self) -> bool:
        """Only where something dooms all, an outage was longer than is waited for, or all that came back is no."""
        given = Counter(kind for kinds in self.sky.given.values() for kind in kinds)
        dooming = any(given[kind] for kind in DOOMING)
        return dooming or sum(given[kind] for kind in PASSING) > 0 or given[K.BAD_REQUEST] >= 20

    def _first_requests(self) -> Iterator[Request]:
        render = renderer(self.world.steps)
        for row in self.source:
            request = render(Place(row=row, step=0, sample=0, texts={}))
            if not isinstance(request, Unrenderable):
                yield request


def _limits_of(luck: Random) -> LaneLimits:
    return LaneLimits(
        requests_per_minute=luck.choice([None, 30.0, 600.0]),
        tokens_per_minute=luck.choice([None, None, 20_000.0]),
        concurrency=luck.choice([1, 4, 32]),
        timeout_s=luck.choice([5.0, 60.0, 600.0]),
    )


def _rows_of(luck: Random) -> list[Row]:
    """Rows, some of them twice, some asking for the same, some that cannot be rendered or are refused for ever."""
    listed = rows(luck.choice([1, luck.randint(2, 12), luck.randint(10, 40), luck.randint(40, 150)]))
    listed += [luck.choice(listed) for _ in range(luck.choice([0, 3]))]
    listed += [row_of({"text": f"twin {number}", "prompt": "the same"}) for number in range(luck.choice([0, 0, 5]))]
    listed += [row_of({"text": str(number), "prompt": "unrenderable"}) for number in range(luck.choice([0, 0, 1]))]
    listed += [row_of({"text": str(number), "prompt": f"{BAD} {number}"}) for number in range(luck.choice([0, 0, 2]))]
    luck.shuffle(listed)
    return listed
