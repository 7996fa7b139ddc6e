"""A run's metrics to an OpenTelemetry collector, by OTLP over HTTP.

Where to and how is said by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS, OTEL_RESOURCE_ATTRIBUTES),
which the exporter reads itself. The same figures, under the same names, as Prometheus gets; a counter's name is without
its `_total`, as OpenTelemetry has it. The packages are those of the extra `otlp`, loaded only when they are used.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, cast

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from tunemill import __version__
from tunemill.errors import ArgumentError
from tunemill.telemetry.metrics.push import TIMEOUT_S, Push

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint
    from opentelemetry.sdk.metrics.export import Metric as OtlpMetric

_LOGGER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


def check_otlp(flag: str) -> None:
    """See whether the packages are there. Raises ArgumentError, which names the flag."""
    try:
        is_there = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        mend = "install tunemill with its extra: pip install 'tunemill[otlp]'"
        raise ArgumentError("the packages for OpenTelemetry are not installed", mend=mend, key=flag)


def otlp_export(wall: Callable[[], float]) -> Push:
    """Exports to where the variables say. `wall` is the time in seconds since the epoch."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult

    exporter = OTLPMetricExporter(timeout=TIMEOUT_S)
    said = _LastWords()
    began_ns = _ns(wall())

    def push(families: Sequence[Metric]) -> None:
        said.messages.clear()
        if exporter.export(metrics_data(families, began_ns=began_ns, now_ns=_ns(wall()))) != MetricExportResult.SUCCESS:
            raise OSError("; ".join(said.messages[-2:]) or "the collector did not take the metrics")

    return push


class _LastWords(logging.Handler):
    """Keeps what the exporter logs of its failures: it is told once, in our words, and not from a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        logger = logging.getLogger(_LOGGER)
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def metrics_data(families: Iterable[Metric], *, began_ns: int, now_ns: int) -> "MetricsData":
    """Prometheus's families as OpenTelemetry's; `began_ns` is since when this process counts."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    ours = Resource({"service.name": "tunemill", "service.version": __version__})
    metrics = [_metric(family, began_ns, now_ns) for family in families if family.samples]
    scope = ScopeMetrics(scope=InstrumentationScope("tunemill", __version__), metrics=metrics, schema_url="")
    resource = ours.merge(OTELResourceDetector().detect())
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Metric, began_ns: int, now_ns: int) -> "OtlpMetric":
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Sum
    from opentelemetry.sdk.metrics.export import Metric as OtlpMetric

    cumulative = AggregationTemporality.CUMULATIVE
    data: Any
    match family.type:
        case "counter":
            data = Sum(_numbers(family.samples, began_ns, now_ns), cumulative, is_monotonic=True)
        case "histogram":
            data = Histogram(list(_histograms(family.samples, began_ns, now_ns)), cumulative)
        case _:
            data = Gauge(_numbers(family.samples, began_ns, now_ns))
    name = f"{family.name}_info" if family.type == "info" else family.name
    return OtlpMetric(name=name, description=family.documentation, unit=_unit(family.name), data=data)


def _numbers(samples: Sequence[Sample], began_ns: int, now_ns: int) -> "list[NumberDataPoint]":
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    return [NumberDataPoint(sample.labels, began_ns, now_ns, float(sample.value)) for sample in samples]


def _histograms(samples: Sequence[Sample], began_ns: int, now_ns: int) -> "Iterator[HistogramDataPoint]":
    """One for each set of labels. Prometheus counts each bucket with all below it, OpenTelemetry alone."""
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    for labels, of_labels in groupby(samples, key=_labels_but_le):
        kinds: dict[str, list[Sample]] = {"bucket": [], "count": [], "sum": []}
        for sample in of_labels:
            kinds[sample.name.rpartition("_")[2]].append(sample)
        up_to = [round(sample.value) for sample in kinds["bucket"]]
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=began_ns,
            time_unix_nano=now_ns,
            count=round(kinds["count"][0].value),
            sum=kinds["sum"][0].value,
            bucket_counts=[after - before for before, after in pairwise((0, *up_to))],
            explicit_bounds=[float(sample.labels["le"]) for sample in kinds["bucket"][:-1]],
            min=cast("float", None),  # not known: the encoder leaves them out
            max=cast("float", None),
        )


def _labels_but_le(sample: Sample) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))


def _unit(name: str) -> str:
    """As UCUM writes it, where the name ends in one."""
    ending = name.rpartition("_")[2]
    return {"seconds": "s", "bytes": "By", "usd": "{USD}", "tokens": "{token}"}.get(ending, "")


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
