"""A world for the engine: rows, steps and a provider that is a plain function with luck of its own and books outside.

Everything that is random comes from one seed; all time is the manual clock's.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson
from tests.support.clock import ManualClock
from tests.support.recorder import MemoryJournal, MemoryRecorder

from tunemill.answers import parse_completion
from tunemill.engine import (
    Budget,
    Dispatcher,
    Ending,
    Executor,
    LaneLimits,
    Place,
    Prices,
    RetryLimits,
    Step,
    Tools,
    Unrenderable,
)
from tunemill.events import Event
from tunemill.model import (
    Delivered,
    Failure,
    FailureKind,
    Json,
    JsonObject,
    Lane,
    LimitHints,
    Picodollars,
    Reply,
    Request,
    Row,
    Undelivered,
    Usage,
)
from tunemill.plan import Chain

MODEL = Lane("", "small")
OTHER = Lane("", "large")
INPUT_PRICE, OUTPUT_PRICE = 150_000, 600_000  # picodollars a token
OUTPUT_MAX = 100
NO_HINTS = LimitHints()
FREE = LaneLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=16, timeout_s=60.0)


def step(name: str = "plot", samples: int = 1, lane: Lane = MODEL) -> Step:
    return Step(name=name, samples=samples, lane=lane)


def rows(count: int, *, word: str = "row") -> list[Row]:
    """So many different rows."""
    return [row_of({"text": f"{word} {number}"}) for number in range(count)]


def row_of(fields: dict[str, str]) -> Row:
    return Row(id=hashlib.blake2b(orjson.dumps(fields), digest_size=16).hexdigest(), fields=fields)


def renderer(steps: Sequence[Step]) -> Callable[[Place], Request | Unrenderable]:
    """Requests by content: the row's field `prompt` (or `text`) and the texts of earlier steps. `max` is max_tokens,
    `max b` that of step b."""

    def render(place: Place) -> Request | Unrenderable:
        fields = place.row.fields
        prompt = fields.get("prompt", fields.get("text"))
        if prompt == "unrenderable":
            return Unrenderable(message="it cannot be filled in")
        of = steps[place.step]
        body = orjson.dumps({"model": of.lane.model, "step": of.name, "prompt": prompt, "texts": dict(place.texts)})
        return Request(
            id=hashlib.blake2b(body + b"%d" % place.sample, digest_size=16).hexdigest(),
            row_id=place.row.id,
            step=of.name,
            sample=place.sample,
            lane=of.lane,
            path="/chat/completions",
            body=body,
            input_tokens_max=len(body),
            output_tokens_max=int(str(fields.get(f"max {of.name}", fields.get("max", OUTPUT_MAX)))),
        )

    return render


def worst(request: Request) -> Picodollars:
    return request.input_tokens_max * INPUT_PRICE + (request.output_tokens_max or 0) * OUTPUT_PRICE


def cost(lane: Lane, usage: Usage) -> Picodollars:
    del lane
    return usage.input * INPUT_PRICE + usage.output * OUTPUT_PRICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """What goes wrong, each with its probability; the rest is answered within `latency_s` (from, to)."""

    faults: Mapping[FailureKind, float] = field(default_factory=dict)
    latency_s: tuple[float, float] = (0.2, 3.0)
    retry_after: float = 0.5  # of the 429s say when
    no_usage: float = 0.0
    used: float = 1.0  # at most this part of max_tokens
    useless: float = 0.0  # answers without text, refused, or filtered


@dataclass(frozen=True, slots=True)
class Sending:
    """One request that the provider received."""

    at: float
    request: Request
    text: str


class Provider:
    """Answers, fails and bills. `billed` is the truth that nobody here sees: also what was produced and lost."""

    def __init__(self, clock: ManualClock, random: Random, luck: Luck | None = None) -> None:
        self.clock = clock
        self.random = random
        self.luck = luck or Luck()
        self.sendings: list[Sending] = []
        self.billed: Picodollars = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.script: Callable[[Request, int], Failure | None] = lambda request, times: None
        self.times: Counter[str] = Counter()

    async def __call__(self, request: Request, timeout_s: float) -> Reply:
        self.sendings.append(Sending(self.clock.monotonic(), request, request.body.decode()))
        self.times[request.id] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._reply(request, timeout_s)
        finally:
            self.in_flight -= 1

    async def _reply(self, request: Request, timeout_s: float) -> Reply:
        scripted = self.script(request, self.times[request.id])
        failure = scripted or self._unlucky()
        usage = self._usage(request)
        if failure is not None and failure.kind is FailureKind.TIMEOUT:
            self._bill_perhaps(usage)
            await self.clock.sleep(timeout_s)
            return Undelivered(failure=failure, hints=NO_HINTS)
        if failure is None:
            # Billed when it is produced: whoever is cut off while it is on its way has paid all the same.
            self.billed += cost(request.lane, usage)
        elif failure.may_be_billed:
            self._bill_perhaps(usage)
        await self.clock.sleep(self.random.uniform(*self.luck.latency_s))
        if failure is not None:
            return Undelivered(failure=failure, hints=NO_HINTS)
        answer = self._answer(request, usage)
        return Delivered(body=orjson.dumps(answer), hints=NO_HINTS, completion=parse_completion(answer))

    def _bill_perhaps(self, usage: Usage) -> None:
        if self.random.random() < 0.7:
            self.billed += cost(MODEL, usage)

    def _unlucky(self) -> Failure | None:
        chance = self.random.random()
        for kind, rate in self.luck.faults.items():
            if chance < rate:
                asked = self.random.uniform(0, 5) if self.random.random() < self.luck.retry_after else None
                return failure_of(kind, retry_after_s=asked if kind is FailureKind.RATE_LIMITED else None)
            chance -= rate
        return None

    def _usage(self, request: Request) -> Usage:
        most = int((request.output_tokens_max or 0) * self.luck.used)
        return Usage(input=self.random.randint(1, len(request.body)), output=self.random.randint(0, most))

    def _answer(self, request: Request, usage: Usage) -> JsonObject:
        message: JsonObject = {"content": f"answer {self.times[request.id]} to {request.id[:8]}"}
        reason = "stop"
        if self.random.random() < self.luck.useless:
            message, reason = self.random.choice(
                [({"content": " "}, "stop"), ({"content": "x", "refusal": "no"}, "stop"), ({}, "content_filter")]
            )
        answer: dict[str, Json] = {"choices": [{"message": message, "finish_reason": reason}]}
        if self.random.random() >= self.luck.no_usage:
            answer["usage"] = {"prompt_tokens": usage.input, "completion_tokens": usage.output}
        return answer


MAY_BE_BILLED = {
    FailureKind.TIMEOUT,
    FailureKind.GATEWAY_ERROR,
    FailureKind.DISCONNECTED,
    FailureKind.BAD_REPLY,
}


def failure_of(kind: FailureKind, *, retry_after_s: float | None = None, message: str = "") -> Failure:
    return Failure(
        kind=kind,
        message=message or kind.value,
        may_be_billed=kind in MAY_BE_BILLED,
        retry_after_s=retry_after_s,
    )


class GuardAfter:
    """An outer guard that takes its time; 0 is none."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds

    def change(self, per_minute: float | None) -> None:
        del per_minute

    async def acquire(self) -> None:
        if self.seconds:
            await self.clock.sleep(self.seconds)


class World:
    """One run, over as many processes as it takes. What is checked at every event is what must hold at every moment."""

    def __init__(
        self,
        seed: int = 0,
        *,
        steps: Sequence[Step] = (),
        limits: Mapping[Lane, LaneLimits] | None = None,
        luck: Luck | None = None,
        cap: Picodollars | None = None,
        retry: RetryLimits | None = None,
        write_s: tuple[float, float] = (0.0, 0.02),
        grace_s: float = 30.0,
    ) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.steps = tuple(steps) or (step(),)
        self.provider = Provider(self.clock, self.random, luck)
        self.journal = MemoryJournal()
        self.cap = cap
        self.guard = GuardAfter(self.clock)
        self.events: list[Event] = []
        self.dispatcher: Dispatcher
        self.budget: Budget
        self.most_pending = 0
        self.committed_before = 0  # when the cap was lowered in mid-run
        self._limits = limits or {of.lane: FREE for of in self.steps}
        self._retry = retry or RetryLimits(attempts_max=6, outage_max_s=1800.0)
        self._write_s = write_s
        self._grace_s = grace_s

    def open(
        self,
        source: Iterable[Row],
        *,
        planned: int | None = None,
        retry_failed: bool = False,
        executor: Executor | None = None,
    ) -> Dispatcher:
        """A new process on what is on disk."""
        listed = list(source)
        self.journal.reopen()
        self.budget = Budget(self.cap, settled=self.journal.settled, uncertain=self.journal.uncertain)
        recorder = MemoryRecorder(
            self.journal,
            steps=self.steps,
            clock=self.clock,
            write_s=lambda: self.random.uniform(*self._write_s),
            retry_failed=retry_failed,
        )
        tools = Tools(
            budget=self.budget,
            prices=Prices(worst=worst, cost=cost),
            recorder=recorder,
            retry=self._retry,
            clock=self.clock,
            random=Random(self.random.random()),
            emit=self._heard,
        )
        self.dispatcher = Dispatcher(
            rows=iter(listed),
            rows_planned=len(listed) if planned is None else planned,
            steps=self.steps,
            render=renderer(self.steps),
            limits=self._limits,
            executors={"": executor or self.provider},
            throttle=lambda per_minute: self.guard,
            tools=tools,
            grace_s=self._grace_s,
        )
        return self.dispatcher

    async def run(self, source: Iterable[Row], *, retry_failed: bool = False) -> Ending:
        """A process from beginning to end."""
        run = self.open(source, retry_failed=retry_failed).run()
        return await self.clock.run(run, each_turn=self.check_sums)

    def lower_cap(self, cap: Picodollars) -> None:
        """In mid-run: nothing more may be committed than there is."""
        self.committed_before = self.budget.committed
        self.budget.change_cap(cap)
        self.dispatcher.freed()

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self.check()

    def check(self) -> None:
        """What holds at every moment, and takes longer to look at."""
        self.check_sums()
        waiting_for = self.dispatcher.waiting_for()
        assert sum(waiting_for.values()) == self.dispatcher.counts.waiting, waiting_for

    def check_sums(self) -> None:
        """What holds at every moment: counts and money."""
        counts, budget = self.dispatcher.counts, self.budget
        assert min(counts.completed, counts.failed, counts.waiting, counts.in_flight) >= 0, counts
        assert counts.planned == counts.completed + counts.failed + counts.waiting + counts.in_flight
        assert min(budget.settled, budget.uncertain, budget.reserved) >= 0
        assert self.provider.billed <= budget.committed
        assert budget.cap is None or budget.committed <= max(budget.cap, self.committed_before)
        self.most_pending = max(self.most_pending, self.dispatcher._places.count)

    def heard(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def places(self, source: Iterable[Row]) -> Iterable[tuple[str, str, int]]:
        """Every place that these rows ask for (each row once)."""
        chain = Chain.of(self.steps)
        for row_id in dict.fromkeys(row.id for row in source):
            for of, count in zip(self.steps, chain.counts, strict=True):
                yield from ((row_id, of.name, sample) for sample in range(count))
