"""Time: the real clock's promises, kept by the tests' own too, and waiting for an event or for time."""

import asyncio

import pytest
from tests.support.clock import EverybodyWaits, ManualClock

from tunemill.clock import Clock, SystemClock, wait_for


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
async def test_every_clock_moves_sleeps_and_calls_back(clock: Clock) -> None:
    """Sleeping takes at least as long as asked; a call is made once, and not after it was cancelled."""

    async def work() -> None:
        called: list[str] = []
        began, wall = clock.monotonic(), clock.wall()
        clock.call_later(0.01, lambda: called.append("made"))
        clock.call_later(0.01, lambda: called.append("cancelled")).cancel()
        await clock.sleep(0.03)
        assert clock.monotonic() - began >= 0.0299
        assert clock.wall() - wall >= 0.02
        assert called == ["made"]

    await (clock.run(work()) if isinstance(clock, ManualClock) else work())


async def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    """Either way the event is clear again, and no timer is left."""
    clock = ManualClock()

    async def work() -> None:
        event = asyncio.Event()
        await wait_for(event, clock, 5.0)
        assert clock.monotonic() == 1005.0
        clock.call_later(1.0, event.set)
        await wait_for(event, clock, 5.0)
        assert clock.monotonic() == 1006.0
        assert not event.is_set()
        assert clock.timers == 0
        event.set()
        await wait_for(event, clock, None)
        assert not event.is_set()

    await clock.run(work())


async def test_time_that_is_moved_by_hand_makes_calls_in_their_order() -> None:
    """Each at its own time."""
    clock, calls = ManualClock(), list[tuple[str, float]]()
    for name, seconds in (("late", 3.0), ("early", 1.0), ("never", 9.0)):
        clock.call_later(seconds, lambda name=name: calls.append((name, clock.monotonic())))  # type: ignore[misc]
    clock.advance(5.0)
    assert calls == [("early", 1001.0), ("late", 1003.0)]
    assert clock.monotonic() == 1005.0
    assert clock.timers == 1


async def test_a_simulation_that_hangs_says_so() -> None:
    """Everybody waits and no timer is set: an error, not a test that never ends."""
    with pytest.raises(EverybodyWaits):
        await ManualClock().run(asyncio.Event().wait())
