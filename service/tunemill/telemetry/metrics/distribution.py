"""A Prometheus histogram that is told something thousands of times a second and asked every few seconds.

`prometheus_client.Histogram` looks through its buckets one by one and takes a lock for each value, in Python; this one
finds the bucket by bisection and adds up when it is asked. It is told by one thread. Whoever asks in another may see an
observation in the buckets that is not yet in the sum, as with the other.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tunemill.telemetry.metrics.kinds import DescribedHistogram


class _Series:
    """What was seen under one set of labels: how much of it in each bucket alone, and its sum."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Distribution(Collector):
    """See the module. A distribution without labels is there from the start; else one appears with its labels."""

    def __init__(self, described: DescribedHistogram) -> None:
        self._described = described
        self._bounds = (*described.buckets, float("inf"))
        self._series: dict[tuple[str, ...], _Series] = {}
        if not described.labels:
            self._series[()] = _Series(len(self._bounds))

    def observe(self, value: float, *labels: str) -> None:
        """One more was seen, in the unit of the buckets."""
        series = self._series.get(labels)
        if series is None:
            assert len(labels) == len(self._described.labels), labels
            series = self._series[labels] = _Series(len(self._bounds))
        series.counts[bisect_left(self._bounds, value)] += 1
        series.total += value

    def describe(self) -> list[Metric]:
        """The name, so that no other metric can take it."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """Buckets as Prometheus has them: each counts what is in those before it, too."""
        family = self._family()
        for labels, series in list(self._series.items()):
            so_far, buckets = 0, []
            for bound, count in zip(self._bounds, series.counts, strict=True):
                so_far += count
                buckets.append((str(floatToGoString(bound)), so_far))  # type: ignore[no-untyped-call] # has no types
            family.add_metric(labels, buckets, series.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        described = self._described
        return HistogramMetricFamily(described.name, described.help, labels=tuple(described.labels))
