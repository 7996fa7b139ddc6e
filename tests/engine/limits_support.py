"""A client that only paces, and a provider that only admits: minutes of traffic in a second, from a seed.

The client is the engine's gates, asked as a lane asks them; the provider is the embedded server's limiter; between:
a disk that takes its time before a request leaves, a network, and a client that now and then does nothing for a while.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tunemill.engine.gates import Gates
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.passage import Passage
from tunemill.engine.size import Size
from tunemill.local.limits import NO_LIMITS, Denied, Limiter, Limits
from tunemill.model import Failure, FailureKind, LimitedBy, LimitHints

START = 1000.0


def uniform(random: Random) -> Size:
    """All alike: 400 tokens."""
    del random
    return Size(800, 200)


def mixed(random: Random) -> Size:
    """Short and long prompts: 350 to 3,300 tokens."""
    return Size(random.choice([200, 800, 3000, 12_000]), 300)


def the_sum(size: Size) -> int:
    """The commonest rule of admission."""
    return -(-size.characters // 4) + size.output_max


def the_larger(size: Size) -> int:
    """Another."""
    return max(-(-size.characters // 4), size.output_max)


def prompt_only(size: Size) -> int:
    """A third."""
    return -(-size.characters // 4)


def in_another_language(size: Size) -> int:
    """The commonest rule, where a token is three characters long."""
    return -(-size.characters // 3) + size.output_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is played. Rates are per minute; `changes` are (seconds from the start, what is then enforced)."""

    enforced: Limits
    configured: Limits = NO_LIMITS
    sizes: Callable[[Random], Size]
    counted: Callable[[Size], int] = the_sum
    refunded: Callable[[Size, Random], int] = lambda size, random: 0  # tokens given back with the answer
    latency_s: tuple[float, float] = (0.5, 2.0)
    concurrency: int = 5000
    with_headers: bool = True
    with_kind: bool = True
    changes: Sequence[tuple[float, Limits]] = ()
    other: Callable[[float], float] = lambda passed_s: 0.0  # share of the limits that another client takes
    seconds: float = 120.0
    disk_s: float = 0.006  # mean
    wire_s: float = 0.001  # mean
    refusal_s: float = 0.005
    stall_each_s: float = 10.0
    stall_s: float = 0.25  # at most
    headers: Callable[[LimitHints, Random], LimitHints] = lambda hints, random: hints


@dataclass(slots=True)
class Books:
    """What the provider admitted and refused: (when, tokens), times from the start."""

    admitted: list[tuple[float, int]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def requests_per_minute(self, since: float, until: float) -> float:
        return sum(since <= at < until for at, _ in self.admitted) / (until - since) * 60

    def tokens_per_minute(self, since: float, until: float) -> float:
        return sum(tokens for at, tokens in self.admitted if since <= at < until) / (until - since) * 60

    def refused_share(self, since: float = 0.0) -> float:
        refused = sum(at >= since for at in self.refused)
        admitted = sum(at >= since for at, _ in self.admitted)
        return refused / max(1, refused + admitted)

    def most_in_a_second(self) -> int:
        """Requests that were received within any second."""
        times = sorted([at for at, _ in self.admitted] + self.refused)
        most, first = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most


class Play:
    """One scene from one seed. `books` tell what came of it; `gates` are left as they were at the end."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.books = Books()
        self.random = Random(f"limits {seed}")
        configured = scene.configured
        limits = LaneLimits(
            requests_per_minute=_or_none(configured.requests_per_minute),
            tokens_per_minute=_or_none(configured.tokens_per_minute),
            concurrency=scene.concurrency,
            timeout_s=600.0,
        )
        self.gates = Gates(limits, START)
        self.causes: list[str] = []
        self._limiter = Limiter(scene.enforced, START)
        self._now = START
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._retries: deque[Size] = deque()
        self._head: Size | None = None
        self._in_flight = 0
        self._stalled_until = START
        self._loop_at = float("inf")

    def run(self) -> Books:
        scene = self.scene
        for at, limits in scene.changes:
            self._at(START + at, self._change, limits)
        self._at(START + self.random.expovariate(1 / scene.stall_each_s), self._stall)
        self._wake(START)
        while self._events and self._events[0][0] < START + scene.seconds:
            self._now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        return self.books

    def _at(self, at: float, act: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (at, next(self._order), act, arguments))

    # -- the client ----------------------------------------------------------------------------------------------

    def _wake(self, at: float) -> None:
        at = max(at, self._stalled_until)
        if at < self._loop_at:
            self._loop_at = at
            self._at(at, self._loop, at)

    def _stall(self) -> None:
        self._stalled_until = self._now + self.random.uniform(0, self.scene.stall_s)
        self._at(self._stalled_until + self.random.expovariate(1 / self.scene.stall_each_s), self._stall)

    def _loop(self, at: float) -> None:
        if at != self._loop_at:
            return
        self._loop_at = float("inf")
        if self._now < self._stalled_until:
            self._wake(self._stalled_until)
            return
        while True:
            if self._head is None:
                self._head = self._retries.popleft() if self._retries else self.scene.sizes(self.random)
            size = self._head
            wait = self.gates.blocked(self._now, size=size, in_flight=self._in_flight)
            if wait is not None:
                if wait.seconds is not None:
                    self._wake(self._now + wait.seconds + self.random.expovariate(1 / 0.0005))
                return
            self._head = None
            self._in_flight += 1
            passage = self.gates.took(self._now, size=size)
            self._at(self._now + self.random.expovariate(1 / self.scene.disk_s), self._leave, passage)

    def _leave(self, passage: Passage) -> None:
        if self._now < self._stalled_until:
            self._at(self._stalled_until, self._leave, passage)
            return
        self.gates.left(passage, self._now)
        self._at(self._now + self.random.expovariate(1 / self.scene.wire_s), self._arrive, passage)

    def _answered(self, passage: Passage, hints: LimitHints) -> None:
        if self._now < self._stalled_until:
            self._at(self._stalled_until, self._answered, passage, hints)
            return
        self._in_flight -= 1
        self._told(self.gates.learn(hints, passage, self._now))
        self.gates.answered(passage, input_tokens=passage.size.characters // 4, in_flight=self._in_flight + 1)
        self._wake(self._now)

    def _refused(self, passage: Passage, hints: LimitHints, denied: Denied) -> None:
        if self._now < self._stalled_until:
            self._at(self._stalled_until, self._refused, passage, hints, denied)
            return
        self._in_flight -= 1
        self._told(self.gates.learn(hints, passage, self._now))
        by = LimitedBy(denied.kind) if self.scene.with_kind else None
        failure = Failure(
            kind=FailureKind.RATE_LIMITED, message="", may_be_billed=False, retry_after_s=denied.wait_s, limited_by=by
        )
        self._told(self.gates.rate_limited(passage, failure, self._now))
        self.gates.pause(self._now + denied.wait_s)
        self._at(self._now + max(0.5, denied.wait_s), self._again, passage.size)
        self._wake(self._now)

    def _again(self, size: Size) -> None:
        self._retries.append(size)
        self._wake(self._now)

    def _told(self, changes: Sequence[Any]) -> None:
        self.causes += [change.cause for change in changes]

    # -- the provider --------------------------------------------------------------------------------------------

    def _change(self, limits: Limits) -> None:
        self._limiter = Limiter(limits, self._now)

    def _arrive(self, passage: Passage) -> None:
        self._limiter.others_share = self.scene.other(self._now - START)
        tokens = self.scene.counted(passage.size)
        denied = self._limiter.admit(tokens, self._now)
        hints = self._hints()
        if denied is not None:
            self.books.refused.append(self._now - START)
            self._at(self._now + self.scene.refusal_s, self._refused, passage, hints, denied)
            return
        refund = self.scene.refunded(passage.size, self.random)
        self.books.admitted.append((self._now - START, tokens - refund))
        latency_s = self.random.uniform(*self.scene.latency_s)
        if refund:
            self._at(self._now + latency_s, self._refund, refund)
        self._at(self._now + latency_s, self._answered, passage, hints)

    def _refund(self, tokens: int) -> None:
        self._limiter.tokens.give_back(tokens, self._now)

    def _hints(self) -> LimitHints:
        if not self.scene.with_headers:
            return LimitHints()
        said = {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in self._limiter.headers()}
        whole = {name: int(value) for name, value in said.items() if not name.startswith("reset")}
        hints = LimitHints(
            requests_per_minute=whole.get("limit-requests"),
            tokens_per_minute=whole.get("limit-tokens"),
            requests_remaining=whole.get("remaining-requests"),
            tokens_remaining=whole.get("remaining-tokens"),
        )
        return self.scene.headers(hints, self.random)


def _or_none(limit: float) -> float | None:
    return None if limit == float("inf") else limit
