"""Pushing: what arrives, and that a receiver's faults are nobody else's."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from tests.support.collector import receiving
from tests.support.ports import free_port
from tests.telemetry.samples import COMPLETED, FINISHED, STATISTICS

from tunemill.clock import SystemClock
from tunemill.statistics import RunStatistics
from tunemill.telemetry import RunMetrics, run_logger
from tunemill.telemetry.metrics import push
from tunemill.telemetry.metrics.push import Push, push_gateway, pushing

OFTEN_S = 0.02
SELDOM_S = 3600.0


async def _pushed(
    to: Push,
    *,
    statistics: Callable[[], RunStatistics] = lambda: STATISTICS,
    every_s: float = SELDOM_S,
    until: Callable[[], bool] = lambda: True,
) -> list[str]:
    """Push until it is so, and to the end; gives the names of what was logged."""
    metrics = RunMetrics(statistics)
    metrics.on_event(COMPLETED)
    with capture_logs() as logs:
        logger = run_logger("movie-plots")
        async with pushing(metrics.registry, {"there": to}, clock=SystemClock(), logger=logger, every_s=every_s):
            while not until():  # noqa: ASYNC110 - what it waits for happens in threads
                await asyncio.sleep(OFTEN_S)
    assert all(line["to"] == "there" for line in logs)
    return [line["event"] for line in logs]


async def test_the_end_is_pushed_as_the_runs_group() -> None:
    """What was there before of this run is replaced; nothing else is touched. The figures are those of the end."""
    moments = iter((FINISHED,))
    with receiving() as receiver:
        assert await _pushed(push_gateway(receiver.url, "movie-plots"), statistics=lambda: next(moments)) == []
    (came,) = receiver.came
    assert (came.method, came.path) == ("PUT", "/metrics/job/tunemill/run/movie-plots")
    samples = [sample for family in text_string_to_metric_families(came.body.decode()) for sample in family.samples]
    assert {sample.labels["run"] for sample in samples} == {"movie-plots"}
    states = {sample.labels["state"]: sample.value for sample in samples if sample.name == "tunemill_run_state"}
    assert states["finished_with_failures"] == 1
    assert any(sample.name == "tunemill_attempt_duration_seconds_count" for sample in samples)


async def test_a_run_of_any_name_can_be_pushed() -> None:
    """Slashes and letters of all kinds are in the address as the Pushgateway wants them."""
    with receiving() as receiver:
        odd = replace(STATISTICS, run="films/été 2026")
        assert await _pushed(push_gateway(receiver.url, odd.run), statistics=lambda: odd) == []
    assert receiver.came[0].path.startswith("/metrics/job/tunemill/run@base64/")


async def test_it_is_pushed_now_and_then_too() -> None:
    """A run of days is not to be dark until its end."""
    with receiving() as receiver:
        to = push_gateway(receiver.url, "movie-plots")
        assert await _pushed(to, every_s=OFTEN_S, until=lambda: len(receiver.came) >= 3) == []


async def test_a_receiver_that_is_not_there_is_one_warning() -> None:
    """Not one for each push, and no more than that."""
    tried: list[bool] = []
    to = push_gateway(f"http://127.0.0.1:{free_port()}", "movie-plots")

    def trying(families: Sequence[Metric]) -> None:
        tried.append(True)
        to(families)

    assert await _pushed(trying, every_s=OFTEN_S, until=lambda: len(tried) >= 3) == ["push_failed"]


async def test_a_receiver_that_refuses_and_takes_again_is_told_of() -> None:
    """A person sees when the figures that they look at were old, and from when on they are not."""
    with receiving() as receiver:
        receiver.status = 500
        refused: list[int] = []

        def mended() -> bool:
            refused.append(len(receiver.came))
            if refused[-1] >= 2:
                receiver.status = 200
            return refused[-1] >= 6

        to = push_gateway(receiver.url, "movie-plots")
        assert await _pushed(to, every_s=OFTEN_S, until=mended) == ["push_failed", "push_arrived_again"]


async def test_a_receiver_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end comes after the deadline, whatever the thread that waits is doing; nothing is pushed twice at a time."""
    monkeypatch.setattr(push, "DEADLINE_S", 0.2)
    go, at_once, most = threading.Event(), [0], [0]

    def hanging(_: Sequence[Metric]) -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        go.wait(60)
        at_once[0] -= 1

    try:
        async with asyncio.timeout(30):
            assert await _pushed(hanging, every_s=OFTEN_S, until=lambda: most[0] > 0) == ["push_failed"]
    finally:
        go.set()
    assert most == [1]


async def test_a_fault_of_the_library_ends_nothing() -> None:
    """Whatever a push raises, the run goes on, and it is said."""

    def broken(_: Sequence[Metric]) -> None:
        raise KeyError("something")

    assert await _pushed(broken) == ["push_failed"]
