"""Telling outside while a run goes on: in order, in the background, and never longer than a moment at its end."""

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.logs import logs_restored
from tests.support.receiver import HANG, Receiver, nobody_listens
from tests.telemetry.samples import STATISTICS

from tunemill.app import notifying as module
from tunemill.app.notifying import Notifying, notifying
from tunemill.clock import SystemClock
from tunemill.errors import RunFolderUnwritable
from tunemill.model import RunState
from tunemill.settings import Webhook
from tunemill.statistics import RequestCounts, RunStatistics
from tunemill.telemetry import configure_logs

ALL = frozenset({"started", "finished", "budget_reached", "failed", "interrupted", "stalled"})
STALLED_AFTER_S = 0.2


class Run:
    """Figures that the test changes."""

    def __init__(self) -> None:
        self.statistics = STATISTICS

    def take(self) -> RunStatistics:
        return self.statistics

    def becomes(self, state: RunState) -> None:
        self.statistics = replace(self.statistics, state=state)

    def settles_one(self) -> None:
        counts = self.statistics.requests
        counts = RequestCounts(planned=512, completed=counts.completed + 1, failed=1, waiting=246, in_flight=64)
        self.statistics = replace(self.statistics, requests=counts)


@pytest.fixture(autouse=True)
def _a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives at all is not to depend on how fast this machine is."""
    monkeypatch.setattr(module, "OLDER_S", 30.0)
    monkeypatch.setattr(module, "ENDING_S", 30.0)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logs_restored():
        configure_logs("json", stream=stream)
        yield stream


def _logged(log: io.StringIO, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def _how(url: str, on: frozenset[str] = ALL, *, stalled_after_s: float = 600.0) -> Notifying:
    return Notifying(webhook=Webhook(url=url), on=on, stalled_after_s=stalled_after_s)


async def _tell_all(how: Notifying, folder: Path, run: Run, *, until: int, there: Receiver) -> None:
    """A run that stands still, goes on when that was told, and ends."""
    async with notifying(how, folder, run.take, SystemClock()):
        while len(there.bodies) < until:
            await asyncio.sleep(0.01)
            if len(there.bodies) == 2:
                run.settles_one()
        run.becomes(RunState.FINISHED)


async def test_occasions_are_told_in_their_order(tmp_path: Path, log: io.StringIO) -> None:
    """From the start over a stall to the end; each is logged as sent, without the address."""
    run = Run()
    with Receiver() as there:
        await _tell_all(_how(there.url, stalled_after_s=STALLED_AFTER_S), tmp_path, run, until=3, there=there)
    assert [text.split(": ", 1)[1].split(".")[0].split(" after")[0] for text in there.texts] == [
        "started",
        "stalled",
        "going again",
        "finished",
    ]
    sent = [line["kind"] for line in _logged(log, "notification_sent")]
    assert sent == ["started", "stalled", "going_again", "finished"]
    assert "S3CRET" not in log.getvalue()


async def test_only_what_was_asked_for_is_told(tmp_path: Path, log: io.StringIO) -> None:
    """The default leaves starts and interruptions out."""
    run = Run()
    with Receiver() as there:
        async with notifying(_how(there.url, frozenset({"failed"})), tmp_path, run.take, SystemClock()):
            run.becomes(RunState.FINISHED)
    assert there.texts == []


async def test_a_retry_keeps_the_order(tmp_path: Path, log: io.StringIO) -> None:
    """What comes later waits for what comes first, and the end of the run shortens its pause."""
    run = Run()
    with Receiver(500) as there:
        async with notifying(_how(there.url), tmp_path, run.take, SystemClock()):
            while not there.bodies:  # noqa: ASYNC110 - it is filled in another thread
                await asyncio.sleep(0.01)
            run.becomes(RunState.FINISHED)
    assert [text.split(": ", 1)[1].split(".")[0] for text in there.texts] == ["started", "started", "finished"]


@pytest.mark.parametrize("reply", [HANG, None, 500, (429, {"Retry-After": "3600"}), 404])
async def test_whatever_the_webhook_does_the_run_goes_on_and_ends(
    reply: int | str | tuple[int, dict[str, str]] | None,
    tmp_path: Path,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hangs, is not there, fails, asks for an hour, or was revoked: that is logged, and holds up nothing."""
    monkeypatch.setattr(module, "OLDER_S", 0.1)
    monkeypatch.setattr(module, "ENDING_S", 1.2)
    run, turns = Run(), 0
    with Receiver(*[reply or 200] * 50) as there:
        url = there.url if reply is not None else nobody_listens()
        async with notifying(_how(url), tmp_path, run.take, SystemClock()):
            for _ in range(100):  # the run's own work meanwhile
                await asyncio.sleep(0)
                turns += 1
            run.becomes(RunState.FINISHED)
    assert turns == 100
    assert len(there.bodies) <= 10  # tried again, but never without a pause
    assert _logged(log, "notification_sent") == []
    assert "finished" in [line.get("kind") for line in _logged(log, "notification_failed")]
    assert "S3CRET" not in log.getvalue()


async def test_an_error_that_ends_the_run_is_told_in_our_words_and_passed_on(tmp_path: Path, log: io.StringIO) -> None:
    """Its own may quote whatever there was."""
    run = Run()
    with Receiver() as there:
        with pytest.raises(RunFolderUnwritable):
            async with notifying(_how(there.url, frozenset({"failed"})), tmp_path, run.take, SystemClock()):
                raise RunFolderUnwritable("secret words")
        with pytest.raises(ZeroDivisionError):
            async with notifying(_how(there.url, frozenset({"failed"})), tmp_path, run.take, SystemClock()):
                raise ZeroDivisionError("secret words")
    first, second = there.texts
    assert "failed (the run folder can no longer be written)" in first
    assert "failed (an error in tunemill)" in second
    assert "secret words" not in first + second


async def test_what_was_told_by_an_earlier_process_is_not_told_again(tmp_path: Path, log: io.StringIO) -> None:
    """A hundred starts that come to nothing make two messages: one of a start and one of a failure."""
    run = Run()
    run.becomes(RunState.FAILED)
    with Receiver() as there:
        for _ in range(5):
            async with notifying(_how(there.url), tmp_path, run.take, SystemClock()):
                pass
    assert len(there.texts) == 2
    assert len(_logged(log, "notification_withheld")) == 8


async def test_what_did_not_arrive_is_told_by_the_next_process(tmp_path: Path, log: io.StringIO) -> None:
    """Only what arrived is remembered."""
    run = Run()
    run.becomes(RunState.FINISHED)
    with Receiver(404) as there:
        for _ in range(3):
            async with notifying(_how(there.url, frozenset({"finished"})), tmp_path, run.take, SystemClock()):
                pass
    assert len(there.texts) == 2
