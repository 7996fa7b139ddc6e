"""What an OpenTelemetry collector gets: decoded as it decodes it."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.collector import receiving
from tests.support.ports import free_port
from tests.telemetry.samples import COMPLETED, EVENTS, STATISTICS

from tunemill.telemetry import RunMetrics
from tunemill.telemetry.metrics.otlp import otlp_export

metrics_service = pytest.importorskip(
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2", reason="the extra otlp is not installed"
)
NOW_S = 1_790_000_000.5


def _registry() -> CollectorRegistry:
    metrics = RunMetrics(lambda: STATISTICS)
    for event in EVENTS:
        metrics.on_event(event)
    return metrics.registry


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """The resource, and the metrics by name, of one export."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=friday")
        otlp_export(lambda: NOW_S)(tuple(_registry().collect()))
    (came,) = receiver.came
    assert (came.method, came.path, came.headers["authorization"]) == ("POST", "/v1/metrics", "Bearer abc")
    request = metrics_service.ExportMetricsServiceRequest.FromString(came.body)
    (resource_metrics,) = request.resource_metrics
    (scope_metrics,) = resource_metrics.scope_metrics
    return resource_metrics.resource, {metric.name: metric for metric in scope_metrics.metrics}


def _attributes(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


def test_a_counter_is_a_sum_that_only_grows(exported: tuple[Any, dict[str, Any]]) -> None:
    """Cumulative, in dollars, with its labels and the run's name."""
    cost = exported[1]["tunemill_cost_usd"]
    assert cost.sum.is_monotonic
    assert cost.sum.aggregation_temporality == 2
    points = {_attributes(point)["kind"]: point for point in cost.sum.data_points}
    assert points["settled"].as_double == 0.41
    assert _attributes(points["uncertain"])["run"] == "movie-plots"
    assert points["settled"].time_unix_nano == NOW_S * 1e9


def test_a_gauge_is_one(exported: tuple[Any, dict[str, Any]]) -> None:
    """And what is not known is not there."""
    (budget,) = exported[1]["tunemill_budget_usd"].gauge.data_points
    assert budget.as_double == 25.0
    states = {
        _attributes(point)["state"]: point.as_double for point in exported[1]["tunemill_run_state"].gauge.data_points
    }
    assert [state for state, value in states.items() if value] == ["running"]


def test_a_histogram_keeps_its_counts(exported: tuple[Any, dict[str, Any]]) -> None:
    """Each bucket by itself; all of them are the count."""
    histogram = exported[1]["tunemill_answer_tokens"]
    (point,) = histogram.histogram.data_points
    assert (point.count, point.sum) == (1, COMPLETED.usage.output if COMPLETED.usage else 0)
    assert sum(point.bucket_counts) == point.count
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert point.bucket_counts[list(point.explicit_bounds).index(1024.0)] == 1
    assert _attributes(point) == {"run": "movie-plots", "step": "outline"}
    assert not point.HasField("max"), "it is not known"


def test_the_resource_is_the_service_and_what_the_variables_say(exported: tuple[Any, dict[str, Any]]) -> None:
    """So that it is found among everything else that is exported."""
    attributes = _attributes(exported[0])
    assert attributes["service.name"] == "tunemill"
    assert attributes["deployment.environment"] == "friday"


def test_a_collector_that_is_not_there_is_an_error_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For whoever pushes to make one warning of: the exporter's own lines go nowhere else."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("tunemill.telemetry.metrics.otlp.TIMEOUT_S", 0.5)
    with pytest.raises(OSError, match="Failed to export metrics batch"):
        otlp_export(lambda: NOW_S)(tuple(_registry().collect()))
    assert caplog.records == []


def test_a_collector_that_refuses_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server said is in the message."""
    with receiving() as receiver:
        receiver.status = 401
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with pytest.raises(OSError, match="401"):
            otlp_export(lambda: NOW_S)(tuple(_registry().collect()))
