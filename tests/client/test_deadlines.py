"""Deadlines end what takes too long, as asyncio's own do, and nothing else."""

import asyncio

import pytest

from tunemill.client.deadlines import Deadlines

LONG_S = 3600.0


async def test_what_takes_too_long_is_a_timeout() -> None:
    """Also for the second that waits equally long, and the task goes on unharmed."""
    deadlines = Deadlines()
    for _ in range(2):
        with pytest.raises(TimeoutError), deadlines.within(0.01):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_what_is_in_time_is_left_alone() -> None:
    """Its deadline passes later without a trace, while others that began after it wait for theirs."""
    deadlines = Deadlines()
    with deadlines.within(0.02):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), deadlines.within(0.02):
        await asyncio.Event().wait()


async def test_each_has_its_own_time() -> None:
    """A short one is not held up by a long one that began before, and many end in one go."""
    deadlines = Deadlines()

    async def wait(seconds: float) -> str:
        try:
            with deadlines.within(seconds):
                await asyncio.Event().wait()
        except TimeoutError:
            return "too long"
        return "done"

    async with asyncio.TaskGroup() as tasks:
        long = tasks.create_task(wait(LONG_S))
        short = [tasks.create_task(wait(0.01)) for _ in range(50)]
        assert await asyncio.gather(*short) == ["too long"] * 50
        assert not long.done()
        long.cancel()


async def test_a_cancellation_is_a_cancellation() -> None:
    """Also where the deadline passes at the same moment."""
    deadlines = Deadlines()
    inside = asyncio.Event()

    async def wait() -> None:
        with deadlines.within(0.0):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_it_raises_itself_comes_through() -> None:
    """The deadline says nothing of that."""
    with pytest.raises(KeyError), Deadlines().within(LONG_S):
        raise KeyError("its own")


async def test_what_is_held_is_waited_for() -> None:
    """It outlives its deadline; what begins later, or is of another kind, does not; released, it has all its time."""
    deadlines = Deadlines()
    ended: list[str] = []

    async def wait(name: str, kind: str, seconds: float) -> None:
        try:
            with deadlines.within(seconds, kind):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(name)

    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(wait("held", "small", 0.05))
        tasks.create_task(wait("other", "large", 0.1))
        await asyncio.sleep(0)
        deadlines.hold("small")
        later = tasks.create_task(wait("later", "small", 0.1))
        await asyncio.sleep(0.2)
        await later
        assert not held.done()
        deadlines.release("small")
    assert sorted(ended[:2]) == ["later", "other"]
    assert ended[2:] == ["held"]


async def test_what_is_held_may_come_to_its_end() -> None:
    """In time or late, and releasing it then changes nothing."""
    deadlines = Deadlines()
    answered = asyncio.Event()

    async def wait() -> str:
        with deadlines.within(0.02, "small"):
            await answered.wait()
        return "answered"

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    deadlines.hold("small")
    await asyncio.sleep(0.05)
    answered.set()
    assert await task == "answered"
    deadlines.release("small")
    await asyncio.sleep(0.05)
    assert task.result() == "answered"
