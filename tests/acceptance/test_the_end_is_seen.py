"""A run that ends is still seen: it lingers, and it pushes. Its folder is nobody's by then."""

import signal
import time
import urllib.request
from pathlib import Path

import pytest
from tests.support.collector import receiving
from tests.support.ports import free_port
from tests.support.running import grid_recipe, started
from tests.support.simulator import Simulator

from tunemill.app.folder import RunFolder

metrics_service = pytest.importorskip(
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2", reason="the extra otlp is not installed"
)
ROWS = 20
DEADLINE_S = 60.0
FINISHED = 'tunemill_run_state{run="acceptance",state="finished"} 1.0'


def test_the_end_is_scraped_and_pushed(tmp_path: Path) -> None:
    """It is over before a scrape in a quarter of a minute would come by. SIGTERM ends the waiting, and nothing else."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=ROWS)
    address = f"127.0.0.1:{free_port()}"
    with Simulator() as server, receiving() as gateway, receiving() as collector:
        flags = ("run", recipe, "--run-dir", "r", "--listen", address, "--linger", "600")
        pushing = ("--push-gateway", gateway.url, "--otlp")
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with started(*flags, *pushing, base_url=server.base_url, cwd=tmp_path, **variables) as process:
            _wait_for_the_end(address)
            _wait_until_free(RunFolder(tmp_path / "r"))
            assert process.poll() is None, "it lingers"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=DEADLINE_S) == 0
    assert FINISHED.encode() in gateway.came[-1].body
    request = metrics_service.ExportMetricsServiceRequest.FromString(collector.came[-1].body)
    (metrics,) = [scope.metrics for resource in request.resource_metrics for scope in resource.scope_metrics]
    (requests,) = [metric for metric in metrics if metric.name == "tunemill_requests"]
    points = {
        value.value.string_value: point.as_double
        for point in requests.gauge.data_points
        for value in point.attributes
        if value.key == "state"
    }
    assert points == {"completed": ROWS, "failed": 0, "waiting": 0, "in_flight": 0}


def _wait_for_the_end(address: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while FINISHED not in _scrape(address):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _scrape(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as reply:
            text: str = reply.read().decode()
            return text
    except OSError:  # not there yet, or too busy
        return ""


def _wait_until_free(folder: RunFolder) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while folder.is_in_use:
        assert time.monotonic() < deadline
        time.sleep(0.02)
