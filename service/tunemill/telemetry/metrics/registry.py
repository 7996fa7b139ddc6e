"""A run's figures for Prometheus, in a registry of their own.

Counts, tokens and dollars are read from `RunStatistics` when somebody asks, so they are the same figures as everywhere
else and nothing in here can drift from them. Only the histograms are fed by events, as they are the process's. Every
series names its run, so that a restart under another address, or a push, continues what was there.

Counters never shrink, because the journal is only ever appended to; in particular, dollars that became `uncertain` stay
so, since nobody will ever tell us whether they were billed. No clamp hides it if that were broken.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

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
from tunemill.statistics import RunStatistics
from tunemill.telemetry.metrics.distribution import Distribution
from tunemill.telemetry.metrics.kinds import Described, Kind
from tunemill.telemetry.metrics.table import ANSWER_TOKENS, ATTEMPT_DURATION, JOURNAL_COMMIT, METRICS, RETRY_DELAY


class RunMetrics:
    """The registry of one run (`registry`) and the subscriber that feeds its histograms (`on_event`)."""

    def __init__(self, statistics: Callable[[], RunStatistics]) -> None:
        self.process = CollectorRegistry()
        self.registry = CollectorRegistry()
        self.registry.register(_RunCollector(statistics, self.process))
        ProcessCollector(registry=self.process)
        self._attempt_duration = Distribution(ATTEMPT_DURATION)
        self._answer_tokens = Distribution(ANSWER_TOKENS)
        self._retry_delay = Distribution(RETRY_DELAY)
        self._journal_commit = Distribution(JOURNAL_COMMIT)
        for each in (self._attempt_duration, self._answer_tokens, self._retry_delay, self._journal_commit):
            self.process.register(each)

    def on_event(self, event: Event) -> None:
        """Feed the histograms."""
        match event:
            case Completed():
                self._attempt_duration.observe(event.duration_s)
                if event.usage is not None:  # an answer of unknown length is not one of length 0
                    self._answer_tokens.observe(event.usage.output, event.step)
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


class _RunCollector(Collector):
    """The run's figures, taken at the moment of asking, and the process's own; all under the run's name."""

    def __init__(self, statistics: Callable[[], RunStatistics], process: CollectorRegistry) -> None:
        self._statistics = statistics
        self._process = process

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance, so that registering does not already ask for statistics."""
        return ()

    def collect(self) -> Iterator[Metric]:
        statistics = self._statistics()
        for family in chain((_family(described, statistics) for described in METRICS), self._process.collect()):
            family.samples = [
                sample._replace(labels={"run": statistics.run, **sample.labels}) for sample in family.samples
            ]
            yield family


def _family(described: Described, statistics: RunStatistics) -> Metric:
    labels = tuple(described.labels)
    samples = described.read(statistics)
    match described.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(described.name.removesuffix("_total"), described.help, labels=labels)
            for values, value in samples:
                counter.add_metric(values, value)
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(described.name, described.help, labels=labels)
            for values, value in samples:
                gauge.add_metric(values, value)
            return gauge
        case Kind.INFO:
            info = InfoMetricFamily(described.name.removesuffix("_info"), described.help, labels=())
            for values, _ in samples:
                info.add_metric((), dict(zip(labels, values, strict=True)))
            return info
        case _:
            assert_never(described.kind)
