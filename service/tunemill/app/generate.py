"""The first stage of a run: builds the engine from what was opened, and lets it work to its end."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import Protocol

from tunemill.app.clients import Clients
from tunemill.app.figures import LiveFigures, counts_on_record
from tunemill.app.open_run import OpenRecipe, OpenRun
from tunemill.app.recorder import JournalRecorder
from tunemill.app.settled import mark_of, settled_before, whole_mark
from tunemill.client.reach import Reach
from tunemill.clock import Clock
from tunemill.engine import (
    Budget,
    Dispatcher,
    Ending,
    Executor,
    LaneLimits,
    Place,
    RequestThrottle,
    RetryLimits,
    Settled,
    Tools,
    Unrenderable,
    in_flight_most,
)
from tunemill.events import CircuitChanged, Event
from tunemill.files import raise_open_files_limit
from tunemill.journal import Mark, Totals
from tunemill.model import Lane, Request, Row
from tunemill.plan import Unsendable
from tunemill.recipe import Recipe
from tunemill.settings import ProviderAccess

FILES_BESIDE_CONNECTIONS = 128
UNBOUNDED = 0  # pools: lanes keep to their concurrency, which may be raised while connections are open
LLAMA_CONCURRENCY = 8  # the embedded server's slots
LLAMA_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What the command line says about generating."""

    limit: int | None
    grace_s: float
    keep_existing: bool
    retry_failed: bool
    processes: int = 1  # that send; one is this process itself

    @property
    def is_plain(self) -> bool:
        """Whether it is the recipe alone that decides what is sent."""
        return not self.keep_existing and not self.retry_failed


class BePatient(Protocol):
    """Whether to wait for what is under way to a model for as long as it takes, deadline or not."""

    def __call__(self, provider: str, model: str, *, is_patient: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Whatever sends: an executor for every provider that a step names, and a word to all of them. `load` makes what is
    not made before there is something to send."""

    executors: Mapping[str, Executor]
    be_patient: BePatient
    load: Callable[[], None]


@asynccontextmanager
async def connected(
    recipe: Recipe,
    access: Callable[[str], ProviderAccess],
    clock: Clock,
    *,
    local: str | None,
    processes: int,
    gave_up: Callable[[str], None],
) -> AsyncIterator[Sending]:
    """What sends to every provider that a step names.

    They send from this process, or from so many others; `gave_up` is told why these can no longer be had. Raises
    ExecutorsFailed where they cannot be had at all.
    """
    limits = lane_limits(recipe, local=local)
    most = {lane: in_flight_most(of_lane.concurrency) for lane, of_lane in limits.items()}
    raise_open_files_limit(FILES_BESIDE_CONNECTIONS + sum(most.values()))
    reaches: dict[str, Reach] = {}
    for name in {lane.provider for lane in limits}:
        found = access(name)
        reaches[name] = Reach(base_url=found.base_url, api_key=found.api_key, connections=UNBOUNDED)
    here = _sending_here(reaches, clock) if processes == 1 else _sending_there(reaches, clock, processes, gave_up)
    async with here as sending:
        yield sending


@asynccontextmanager
async def _sending_here(reaches: Mapping[str, Reach], clock: Clock) -> AsyncIterator[Sending]:
    clients = Clients(reaches, clock)
    try:
        executors = {name: clients.executor(name) for name in reaches}
        yield Sending(executors=executors, be_patient=clients.be_patient, load=clients.load)
    finally:
        await clients.aclose()


@asynccontextmanager
async def _sending_there(
    reaches: Mapping[str, Reach], clock: Clock, processes: int, gave_up: Callable[[str], None]
) -> AsyncIterator[Sending]:
    from tunemill.client.processes.pool import executor_processes

    async with executor_processes(reaches, processes=processes, clock=clock, gave_up=gave_up) as pool:
        yield Sending(
            executors={name: pool.executor(name) for name in reaches}, be_patient=pool.be_patient, load=_is_loaded
        )


def _is_loaded() -> None:
    """What sends is there from the beginning."""


def lane_limits(recipe: Recipe, *, local: str | None) -> dict[Lane, LaneLimits]:
    """`[limits]` for each model that a step uses. A model on this machine works on a few requests at a time and takes
    as long as it takes, whatever the recipe expects of its provider."""
    is_slow = local == "llama"
    limits = {}
    for step in recipe.steps:
        own = recipe.limits.models.get(step.model)
        concurrency = (own and own.concurrency) or recipe.limits.concurrency
        limits[Lane(step.provider, step.model)] = LaneLimits(
            requests_per_minute=(own and own.requests_per_minute) or recipe.limits.requests_per_minute,
            tokens_per_minute=(own and own.tokens_per_minute) or recipe.limits.tokens_per_minute,
            concurrency=min(concurrency, LLAMA_CONCURRENCY) if is_slow else concurrency,
            timeout_s=max(recipe.limits.timeout_s, LLAMA_TIMEOUT_S) if is_slow else recipe.limits.timeout_s,
        )
    return limits


class Generation:
    """One run's engine, ready to go, with its figures."""

    def __init__(
        self,
        opened: OpenRecipe,
        run: OpenRun,
        *,
        sending: Sending,
        rows_planned: int,
        options: GenerateOptions,
        local: str | None,
        figures: LiveFigures,
        budget: Budget,
        clock: Clock,
        emit: Callable[[Event], None],
        inputs: str,
    ) -> None:
        """`inputs` is a fingerprint of all that decides the requests; "" where the options have a say in it, too."""
        settled = settled_before(run.journal, inputs)
        recorder = JournalRecorder(
            run.journal,
            run.writer,
            clock=clock,
            steps=opened.steps,
            retry_failed=options.retry_failed,
            keep_existing=options.keep_existing,
        )
        limits = opened.recipe.limits
        tools = Tools(
            budget=budget,
            prices=opened.prices.for_engine(),
            recorder=recorder,
            retry=RetryLimits(attempts_max=limits.attempts_max, outage_max_s=limits.outage_max_s),
            clock=clock,
            random=random.Random(),
            emit=partial(_heeded, sending.be_patient, emit),
            before_first=sending.load,
        )
        self._figures = figures
        self._local = local
        self.dispatcher = Dispatcher(
            rows=_rows(opened, options.limit, settled),
            rows_planned=rows_planned,
            steps=opened.steps,
            render=_renderer(opened),
            limits=lane_limits(opened.recipe, local=local),
            executors=sending.executors,
            throttle=RequestThrottle,
            tools=tools,
            grace_s=options.grace_s,
            settled=settled,
        )
        if inputs:
            run.journal.mark_now = partial(_mark_now, self.dispatcher, run.journal.totals, inputs, rows_planned)
        else:
            run.journal.mark_now = _no_mark

    @property
    def is_sending(self) -> bool:
        """Whether it is at work, or awaits what is in flight."""
        return self._figures.engine is self.dispatcher and not self.dispatcher.is_over

    @property
    def is_ending_early(self) -> bool:
        """Whether it will end before all is answered."""
        return self.dispatcher.is_ending() and self.is_sending

    def go_by(self, before: Recipe, after: OpenRecipe) -> int:
        """What another recipe says, from now on, for everything that has not left; gives the number of requests that
        had been made and came out as other ones. A limit that neither of the two changes stays as it is."""
        limits = after.recipe.limits
        retry = RetryLimits(attempts_max=limits.attempts_max, outage_max_s=limits.outage_max_s)
        old, new = lane_limits(before, local=self._local), lane_limits(after.recipe, local=self._local)
        in_force = self.dispatcher.limits
        self.dispatcher.configure({lane: _changed(in_force[lane], old[lane], new[lane]) for lane in in_force}, retry)
        if after.recipe.steps == before.steps:
            return 0
        return self.dispatcher.render_by(_renderer(after))

    async def run(self) -> Ending:
        """Generate everything that is not there yet. Raises RunFolderUnwritable and SourceError."""
        self._figures.engine = self.dispatcher
        return await self.dispatcher.run()


def _heeded(be_patient: BePatient, emit: Callable[[Event], None], event: Event) -> None:
    """While a provider is silent, whoever is under way is waited for: what is cut and was taken would be paid twice."""
    if isinstance(event, CircuitChanged) and (event.is_silence or not event.is_open):
        be_patient(event.lane.provider, event.lane.model, is_patient=event.is_open)
    emit(event)


def _changed(in_force: LaneLimits, old: LaneLimits, new: LaneLimits) -> LaneLimits:
    """The limits in force, with what is another in the recipe than it was."""
    names = [each.name for each in fields(LaneLimits)]
    return replace(in_force, **{name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)})


def _rows(opened: OpenRecipe, limit: int | None, settled: Settled | None) -> Iterator[Row]:
    if settled is None:
        return islice(opened.source.rows(), limit)
    unsettled = [number for number, _ in settled.unsettled]
    most = None if limit is None else len(unsettled) + max(0, limit - settled.walked)
    return islice(opened.source.rows_but(settled.walked, unsettled), most)


def _mark_now(dispatcher: Dispatcher, totals: Totals, inputs: str, rows: int) -> Mark | None:
    settled = dispatcher.settled()
    return None if settled is None else mark_of(settled, inputs=inputs, rows=rows, answers=totals.answers)


def _no_mark() -> None:
    """What is walked by other rules than the recipe's says nothing to whoever comes next."""


def _renderer(opened: OpenRecipe) -> Callable[[Place], Request | Unrenderable]:
    render = opened.planner.render

    def rendered(place: Place) -> Request | Unrenderable:
        request = render(place.step, place.row, place.sample, place.texts)
        return Unrenderable(message=request.message) if isinstance(request, Unsendable) else request

    return rendered


def live_figures(
    opened: OpenRecipe,
    run: OpenRun,
    *,
    rows: int,
    budget: Budget,
    simulated: bool,
    clock: Clock,
    is_seen_through: bool,
) -> LiveFigures:
    """The figures of a run that is about to start, with what its journal already has.

    Of a run that is walked again, a mark tells nearly how far it is, whatever its inputs were, and the walk the rest.
    One that was seen through is not walked, and its last mark may be from before its last answers: then only one of a
    whole run will do.
    """
    planned = rows * opened.planner.chain.requests_per_row
    mark = whole_mark(run.journal) if is_seen_through else run.mark
    return LiveFigures(
        run=opened.recipe.name,
        totals=run.journal.totals,
        budget=budget,
        clock=clock,
        steps=opened.steps,
        baseline=counts_on_record(run.journal, planned, opened.steps, mark),
        simulated=simulated,
        journal=run.writer.level,
    )
