"""A run's figures for Prometheus, in a registry of their own.

Counts, tokens and dollars are read from `RunStatistics` when somebody asks, so they are the same figures as everywhere
else and nothing in here can drift from them. Only the histograms are fed by events, as they are the process's.

The counters are the run's, across restarts: a new process goes on from what the journal says. They never shrink,
because the journal is only ever appended to; in particular, dollars that became `uncertain` stay so, since nobody
will ever tell us whether they were billed. No clamp hides it if that were broken.

All label values are from closed sets: steps and models are the recipe's; whatever else a provider makes up is
counted as `other`.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from tunemill import __version__
from tunemill.events import (
    AttemptFailed,
    BudgetChanged,
    BudgetShort,
    CircuitChanged,
    Completed,
    DatasetBuilt,
    Event,
    Failed,
    FineTuneChanged,
    JournalCommitted,
    LimitChanged,
    RecipeReloaded,
    RunStarted,
    Sent,
    StateChanged,
)
from tunemill.model import FailureKind, Picodollars, RunState, WaitReason, usd
from tunemill.statistics import LimitLevel, Money, RequestCounts, RunStatistics

_OTHER = "other"
_KINDS = frozenset(kind.value for kind in FailureKind)
_FINISH_REASONS = frozenset(
    ("stop", "length", "content_filter", "tool_calls", "function_call", "missing", "refusal", "empty")
)
OUTCOMES = _FINISH_REASONS | _KINDS
RESULTS = _KINDS | {"completed"}
TOKEN_KINDS = ("input", "cached_input", "output", "reasoning")

_ATTEMPT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_DELAY_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 1800)


class RunMetrics:
    """The registry of one run (`registry`) and the subscriber that feeds its histograms (`on_event`)."""

    def __init__(self, statistics: Callable[[], RunStatistics]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_StatisticsCollector(statistics))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._attempt_duration = Histogram(
            "tunemill_attempt_duration_seconds",
            "How long attempts took, from sending to answer or failure, in this process.",
            buckets=_ATTEMPT_BUCKETS_S,
            registry=self.registry,
        )
        self._journal_commit = Histogram(
            "tunemill_journal_commit_seconds",
            "How long it took to write and fsync a batch of journal lines, in this process.",
            buckets=_COMMIT_BUCKETS_S,
            registry=self.registry,
        )
        self._retry_delay = Histogram(
            "tunemill_retry_delay_seconds",
            "How long failed attempts were put off before the next one, in this process.",
            buckets=_DELAY_BUCKETS_S,
            registry=self.registry,
        )

    def on_event(self, event: Event) -> None:
        """Feed the histograms."""
        match event:
            case Completed():
                self._attempt_duration.observe(event.duration_s)
            case JournalCommitted():
                self._journal_commit.observe(event.seconds)
            case AttemptFailed():
                self._attempt_duration.observe(event.duration_s)
                self._retry_delay.observe(event.delay_s)
            case Failed():
                if event.duration_s is not None:  # it failed without ever being sent
                    self._attempt_duration.observe(event.duration_s)
            case Sent() | RunStarted() | StateChanged() | DatasetBuilt() | FineTuneChanged():
                pass
            case LimitChanged() | CircuitChanged() | BudgetShort() | BudgetChanged() | RecipeReloaded():
                pass
            case _:
                assert_never(event)


class _StatisticsCollector(Collector):
    """Turns one `RunStatistics`, taken at the moment of asking, into metrics."""

    def __init__(self, statistics: Callable[[], RunStatistics]) -> None:
        self._statistics = statistics

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance, so that registering does not already ask for statistics."""
        return ()

    def collect(self) -> Iterator[Metric]:
        statistics = self._statistics()
        yield from _run(statistics)
        yield _requests(statistics.requests)
        yield from _finished(statistics)
        yield from _money(statistics.money)
        yield from _waiting(statistics)
        yield from _limits(statistics.limits)


def _run(statistics: RunStatistics) -> Iterator[Metric]:
    build = {"version": __version__, "python": platform.python_version()}
    run = {"run": statistics.run, "simulated": str(statistics.simulated).lower()}
    yield InfoMetricFamily("tunemill_build", "The program that is running.", value=build)
    yield InfoMetricFamily("tunemill_run", "The run, and whether its dollars are only simulated.", value=run)
    state = GaugeMetricFamily(
        "tunemill_run_state", "1 for the state that the run is in, 0 for the others.", labels=["state"]
    )
    for each in RunState:
        state.add_metric([each.value], float(each is statistics.state))
    yield state


def _requests(counts: RequestCounts) -> Metric:
    metric = GaugeMetricFamily(
        "tunemill_requests",
        "Requests of the run: planned is the sum of the others.",
        labels=["state"],
    )
    metric.add_metric(["planned"], counts.planned)
    metric.add_metric(["completed"], counts.completed)
    metric.add_metric(["failed"], counts.failed)
    metric.add_metric(["waiting"], counts.waiting)
    metric.add_metric(["in_flight"], counts.in_flight)
    return metric


def _finished(statistics: RunStatistics) -> Iterator[Metric]:
    yield _counter(
        "tunemill_requests_finished",
        "Requests that came to an end, by finish reason or by the class of the failure.",
        ("step", "outcome"),
        _closed(statistics.finished, OUTCOMES),
    )
    yield _counter(
        "tunemill_attempts",
        "Attempts that came to an end: completed, or the class of the failure.",
        ("step", "result"),
        _closed(statistics.attempts, RESULTS),
    )
    yield _counter(
        "tunemill_tokens",
        "Tokens as billed. Input includes cached_input, and output includes reasoning.",
        ("step", "kind"),
        _closed(statistics.tokens, frozenset(TOKEN_KINDS)),
    )


def _money(money: Money) -> Iterator[Metric]:
    cost = CounterMetricFamily(
        "tunemill_cost_usd",
        "Dollars of the run: settled is billed for certain, uncertain may have been and counts at its worst case.",
        labels=["kind"],
    )
    cost.add_metric(["settled"], usd(money.settled))
    cost.add_metric(["uncertain"], usd(money.uncertain))
    yield cost
    yield _dollars("tunemill_reserved_usd", "Worst case of what is in flight, in dollars.", money.reserved)
    yield _dollars("tunemill_budget_usd", "The hard limit in dollars; absent where there is none.", money.budget)
    yield _dollars(
        "tunemill_forecast_usd", "What the whole run will have cost, in dollars; absent until known.", money.forecast
    )


def _dollars(name: str, help_text: str, amount: Picodollars | None) -> Metric:
    """Unknown is not zero: without an amount there is no sample."""
    metric = GaugeMetricFamily(name, help_text, labels=[])
    if amount is not None:
        metric.add_metric([], usd(amount))
    return metric


def _waiting(statistics: RunStatistics) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("tunemill_waiting", "Requests that wait, by what they wait for.", labels=["reason"])
    for reason in WaitReason:
        waiting.add_metric([reason.value], statistics.waiting_for.get(reason.value, 0))
    yield waiting
    yield GaugeMetricFamily(
        "tunemill_circuits_open",
        "Models that are only probed, after sustained failure.",
        value=statistics.circuits_open,
    )
    eta = GaugeMetricFamily("tunemill_eta_seconds", "Time until all requests are done; absent until known.", labels=[])
    if statistics.eta_s is not None:
        eta.add_metric([], statistics.eta_s)
    yield eta


def _limits(levels: Sequence[LimitLevel]) -> Iterator[Metric]:
    labels = ["model", "kind"]
    limit = GaugeMetricFamily("tunemill_limit", "Limits as they are kept now, given or learned.", labels=labels)
    used = GaugeMetricFamily("tunemill_limit_used", "How much of each limit is used.", labels=labels)
    for level in levels:
        limit.add_metric([level.model, level.kind], level.limit)
        used.add_metric([level.model, level.kind], level.used)
    yield limit
    yield used


def _counter(name: str, help_text: str, labels: Sequence[str], counts: Mapping[tuple[str, str], int]) -> Metric:
    metric = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in sorted(counts.items()):
        metric.add_metric(list(values), count)
    return metric


def _closed(counts: Mapping[tuple[str, str], int], known: frozenset[str]) -> Mapping[tuple[str, str], int]:
    """`counts` by (step, value), with every value that is not `known` counted as other."""
    closed: Counter[tuple[str, str]] = Counter()
    for (step, value), count in counts.items():
        closed[step, value if value in known else _OTHER] += count
    return closed
