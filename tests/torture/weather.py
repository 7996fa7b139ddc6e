"""A provider with weather: hours of it, drawn from a seed. Failures come in episodes of seconds to hours, answers take
from a moment to minutes, limits are enforced whether or not they are known, and what cannot work never does.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import orjson
from tests.engine.engine_support import MAY_BE_BILLED, NO_HINTS, Luck, Provider, cost, failure_of
from tests.support.clock import ManualClock

from tunemill.answers import parse_completion
from tunemill.model import Delivered, Failure, FailureKind, Lane, LimitHints, Reply, Request, Undelivered

K = FailureKind
PASSING = (
    K.RATE_LIMITED,
    K.OVERLOADED,
    K.SERVER_ERROR,
    K.GATEWAY_ERROR,
    K.TIMEOUT,
    K.NOT_CONNECTED,
    K.DISCONNECTED,
    K.BAD_REPLY,
)
DOOMING = (K.BAD_KEY, K.QUOTA_EXHAUSTED, K.MODEL_UNKNOWN)
BAD = "bad"  # a prompt that begins so is refused for ever
ANSWER_S_MAX = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """From `begins` to `ends`, this share of the requests fails in this way; 429s may ask for `retry_after_s`."""

    begins: float
    ends: float
    kind: FailureKind
    share: float
    retry_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """What a provider is like: its episodes, how long answers take (log-normal), and the limit that it enforces."""

    episodes: Sequence[Episode]
    median_s: float
    sigma: float
    requests_per_minute: float | None
    announces: bool  # the limit, in its headers
    retry_after: float  # share of its own 429s that say when


CALM = Climate(
    episodes=(), median_s=1.0, sigma=0.3, requests_per_minute=None, announces=False, retry_after=0.0
)  # fmt: skip


class Sky(Provider):
    """A `Provider` under a climate. `given` is every failure it gave, by request; `billed` its own books."""

    def __init__(self, clock: ManualClock, random: Random, luck: Luck, climate: Climate) -> None:
        super().__init__(clock, random, luck)
        self.climate = climate
        self.dooms: FailureKind | None = None
        self.given: defaultdict[str, list[FailureKind]] = defaultdict(list)
        self.in_flight_by_lane: Counter[Lane] = Counter()
        self.most_by_lane: Counter[Lane] = Counter()
        self._admitted: defaultdict[Lane, deque[float]] = defaultdict(deque)

    async def _reply(self, request: Request, timeout_s: float) -> Reply:
        lane = request.lane
        self.in_flight_by_lane[lane] += 1
        self.most_by_lane[lane] = max(self.most_by_lane[lane], self.in_flight_by_lane[lane])
        try:
            return await self._answered(request, timeout_s)
        finally:
            self.in_flight_by_lane[lane] -= 1

    async def _answered(self, request: Request, timeout_s: float) -> Reply:
        usage = self._usage(request)
        takes_s = min(ANSWER_S_MAX, self.random.lognormvariate(math.log(self.climate.median_s), self.climate.sigma))
        failure = self._failure(request)
        if failure is None and takes_s > timeout_s:
            failure = failure_of(K.TIMEOUT)
        if failure is None:
            self.billed += cost(request.lane, usage)
        else:
            self.given[request.id].append(failure.kind)
            if failure.kind in MAY_BE_BILLED:
                self._bill_perhaps(usage)
        await self.clock.sleep(timeout_s if failure and failure.kind is K.TIMEOUT else min(takes_s, timeout_s))
        if failure is not None:
            return Undelivered(failure=failure, hints=self._hints())
        answer = self._answer(request, usage)
        return Delivered(body=orjson.dumps(answer), hints=self._hints(), completion=parse_completion(answer))

    def _failure(self, request: Request) -> Failure | None:
        if self.dooms is not None:
            return failure_of(self.dooms)
        if b'"prompt":"' + BAD.encode() in request.body:
            return failure_of(K.BAD_REQUEST)
        now = self.clock.monotonic()
        if not self._is_admitted(request.lane, now):
            asked = self.random.uniform(0.1, 20.0) if self.random.random() < self.climate.retry_after else None
            return failure_of(K.RATE_LIMITED, retry_after_s=asked)
        for episode in self.climate.episodes:
            if episode.begins <= now < episode.ends and self.random.random() < episode.share:
                return failure_of(episode.kind, retry_after_s=episode.retry_after_s)
        return None

    def _is_admitted(self, lane: Lane, now: float) -> bool:
        """So many within any minute, counted exactly."""
        limit = self.climate.requests_per_minute
        if limit is None:
            return True
        within = self._admitted[lane]
        while within and within[0] <= now - 60.0:
            within.popleft()
        if len(within) >= limit:
            return False
        within.append(now)
        return True

    def _hints(self) -> LimitHints:
        limit = self.climate.requests_per_minute
        return LimitHints(requests_per_minute=int(limit)) if limit and self.climate.announces else NO_HINTS


def climate_of(luck: Random, began: float) -> Climate:
    """Weather for the first hours."""
    at = began
    episodes = []
    for _ in range(luck.choice([0, 1, 3, 6])):
        at += luck.expovariate(1 / 300)
        lasts = luck.choice([luck.uniform(1, 60), luck.uniform(60, 600), luck.uniform(600, 9000)])
        kind = luck.choice(PASSING)
        episodes.append(
            Episode(
                begins=at,
                ends=at + lasts,
                kind=kind,
                share=luck.choice([1.0, luck.random()]),
                retry_after_s=luck.choice([None, luck.uniform(0, 30), luck.uniform(0, 4000)])
                if kind is K.RATE_LIMITED
                else None,
            )
        )
        at += luck.choice([0.0, lasts])  # episodes may overlap
    return Climate(
        episodes=episodes,
        median_s=luck.choice([0.05, 1.0, 8.0, 60.0]),
        sigma=luck.choice([0.1, 1.0]),
        requests_per_minute=luck.choice([None, None, 30.0, 600.0]),
        announces=luck.random() < 0.5,
        retry_after=luck.choice([0.0, 0.5, 1.0]),
    )
