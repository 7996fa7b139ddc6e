"""All lanes of a run, steered and asked as one."""

from collections import Counter
from collections.abc import Callable, Mapping

from tunemill.engine.lane import LaneWorker, Throttle
from tunemill.engine.owner import Owner, Tools
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.retry import RetryLimits
from tunemill.engine.work import Executor, Job
from tunemill.model import Lane
from tunemill.statistics import LimitLevel


class Lanes:
    """See the module. `of` has each by its name."""

    def __init__(
        self,
        limits: Mapping[Lane, LaneLimits],
        *,
        executors: Mapping[str, Executor],
        throttle: Callable[[float | None], Throttle],
        tools: Tools,
        owner: Owner,
    ) -> None:
        self.of = {
            lane: LaneWorker(
                lane,
                of_lane,
                tools=tools,
                executor=executors[lane.provider],
                throttle=throttle(of_lane.requests_per_minute),
                owner=owner,
            )
            for lane, of_lane in limits.items()
        }
        self.each = tuple(self.of.values())
        self._clock = tools.clock

    def end(self) -> None:
        """Nothing leaves any more."""
        for lane in self.each:
            lane.end()

    def cut(self) -> None:
        """Whatever waits for a reply stops waiting."""
        for lane in self.each:
            lane.cut()

    @property
    def limits(self) -> Mapping[Lane, LaneLimits]:
        """The limits of each, as configured."""
        return {name: lane.gates.limits for name, lane in self.of.items()}

    @property
    def concurrency(self) -> int:
        """How many may be under way, all together."""
        return sum(lane.gates.limits.concurrency for lane in self.each)

    def configure(self, limits: Mapping[Lane, LaneLimits], retry: RetryLimits | None) -> None:
        """Other limits for these, from now on; None leaves those of retrying."""
        for name, of_lane in limits.items():
            self.of[name].configure(of_lane, retry)

    def rested(self, seconds: float) -> None:
        """Nothing was sent for so long on purpose."""
        for lane in self.each:
            lane.rested(seconds)

    def take_back(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """The jobs that wait and for which this holds, lane by lane in order."""
        return [job for lane in self.each for job in lane.take_back(is_wanted)]

    def unshelve(self) -> None:
        """The budget is another: what it was out of reach of may fit."""
        for lane in self.each:
            lane.queue.unshelve()

    def count_shelved(self) -> int:
        """How many the budget is out of reach of. Asked at every row and answer."""
        total = 0
        for lane in self.each:
            total += len(lane.queue.shelf)
        return total

    def shelved(self) -> list[Job]:
        """Those that the budget is out of reach of."""
        return [job for lane in self.each for job in lane.queue.shelf]

    def waiting(self) -> Counter[str]:
        """Jobs that wait, by reason."""
        counts: Counter[str] = Counter()
        for lane in self.each:
            counts.update(lane.waiting())
        return counts

    def levels(self) -> tuple[LimitLevel, ...]:
        """Every limit of every lane."""
        now = self._clock.monotonic()
        return tuple(level for lane in self.each for level in lane.levels(now))

    def rates(self) -> tuple[float, float]:
        """Requests and tokens per minute, over all lanes."""
        now = self._clock.monotonic()
        requests = sum(lane.gates.requests.per_minute(now) for lane in self.each)
        return requests, sum(lane.gates.tokens.per_minute(now) for lane in self.each)

    @property
    def circuits(self) -> dict[str, bool]:
        """Which models are only sent probes."""
        return {lane.name: lane.gates.circuit.is_open for lane in self.each}
