"""Executors in other processes, real ones, against the real simulator: they answer as the client in this process does,
and whatever happens to them, everybody who waits hears of it and nothing is left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from tests.support.clock import ManualClock
from tests.support.simulator import Simulator

from tunemill.client.completions import CompletionsClient
from tunemill.client.processes import pool as pools
from tunemill.client.processes.pool import ProcessPool, executor_processes
from tunemill.client.processes.process import OVERDUE_S
from tunemill.client.reach import Reach
from tunemill.clock import Clock, SystemClock
from tunemill.errors import ExecutorsFailed
from tunemill.model import Delivered, FailureKind, Lane, LimitHints, Reply, Request, Undelivered

KEY = "sk-test-0123456789abcdef"
DEADLINE_S = 60.0


def request(text: str = "Say something.", model: str = "sim") -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 50}
    return Request(
        id="0" * 32,
        row_id="1" * 32,
        step="plot",
        sample=0,
        lane=Lane("", model),
        path="/chat/completions",
        body=orjson.dumps(body),
        input_tokens_max=200,
        output_tokens_max=50,
    )


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--api-key", KEY, "--models", "sim") as server:
        yield server


@pytest.fixture
def server(simulator: Simulator) -> Iterator[Simulator]:
    simulator.control(faults={}, latency_s=0.0)
    simulator.reset_books()
    yield simulator
    simulator.control(faults={}, latency_s=0.0)


class Pool:
    """A pool with one provider, and why it gave up, if it did."""

    def __init__(self) -> None:
        self.gave_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    pool: ProcessPool

    async def send(self, of: Request, timeout_s: float = DEADLINE_S) -> Reply:
        return await self.pool.executor("")(of, timeout_s)


@contextlib.asynccontextmanager
async def running(base_url: str, processes: int = 1, clock: Clock | None = None) -> AsyncIterator[Pool]:
    """A pool; when it is left, its processes are gone and so are the files that were open for them."""
    await asyncio.to_thread(int)  # the first thread opens files of its own
    before, seen = open_files(), Pool()
    providers = {"": Reach(base_url=base_url, api_key=KEY, connections=64)}
    async with executor_processes(
        providers, processes=processes, clock=clock or SystemClock(), gave_up=seen.gave_up.set_result
    ) as seen.pool:
        pids = seen.pool.pids
        assert len(set(pids)) == processes
        yield seen
        pids += seen.pool.pids
    assert [pid for pid in pids if is_there(pid)] == []
    assert open_files() == before


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def is_there(pid: int) -> bool:
    """Also where it is a zombie."""
    return Path(f"/proc/{pid}").exists()


# Starting a process takes a second of processor time, so that those tests share two which leave them as they are.
shared_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(simulator: Simulator) -> AsyncIterator[Pool]:
    async with running(simulator.base_url, processes=2) as pool:
        yield pool


async def until(holds: Callable[[], bool]) -> None:
    """Return when it does."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - it is about other processes, which set no events
            await asyncio.sleep(0.005)


async def until_received(server: Simulator, count: int) -> None:
    """Return when the server has so many requests."""
    await until(lambda: server.books()["received"] >= count)


@shared_loop
async def test_replies_are_those_of_the_client_in_this_process(server: Simulator, shared: Pool) -> None:
    """Answers with body, reading and hints; refusals and faults by their kinds, with the same words."""
    client = CompletionsClient(base_url=server.base_url, api_key=KEY, connections=4, clock=SystemClock())
    asked = [request(f"Case {number}.") for number in range(8)] + [request(model="gone")]
    cases: list[dict[str, float]] = [{}]
    cases += [{kind: 1} for kind in ("missing_usage", "refusal", "server_error", "html_error", "cut_after")]
    for faults in cases:
        server.control(faults=faults)
        server.reset_books()
        there = await asyncio.gather(*(shared.send(each) for each in asked))
        server.reset_books()
        here = [await client.send(each, DEADLINE_S) for each in asked]
        assert list(map(told, there)) == list(map(told, here)), faults
    await client.aclose()


def told(reply: Reply) -> object:
    """What does not differ from one sending to the next."""
    if isinstance(reply, Undelivered):
        return reply.failure, reply.hints != LimitHints()
    raw = orjson.loads(reply.body)
    completion = reply.completion
    return (
        raw["choices"],
        raw.get("usage"),
        completion.text,
        completion.finish_reason,
        completion.refusal,
        completion.usage,
    )


@shared_loop
async def test_a_deadline_is_kept_over_there(server: Simulator, shared: Pool) -> None:
    """A server that says nothing is left after the attempt's time, and what it may have done stays in doubt."""
    server.control(latency_s=60.0)
    reply = await shared.send(request(), 0.2)
    assert isinstance(reply, Undelivered)
    assert (reply.failure.kind, reply.failure.may_be_billed) == (FailureKind.TIMEOUT, True)


@shared_loop
async def test_the_key_is_on_no_command_line(shared: Pool) -> None:
    """Anybody on the machine can read those."""
    for pid in shared.pool.pids:
        line = command_line(pid)
        assert b"tunemill.client.processes" in line
        assert KEY.encode() not in line


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@shared_loop
async def test_work_goes_to_whoever_has_least_to_do(server: Simulator, shared: Pool) -> None:
    """Of eight attempts that are under way, two processes have four each."""
    server.control(latency_s=60.0)
    tasks = [asyncio.create_task(shared.send(request(f"Case {number}."))) for number in range(8)]
    await until_received(server, 8)
    assert [process.in_flight for process in shared.pool._running] == [4, 4]
    await cancelled(tasks)


@shared_loop
async def test_signals_to_everybody_are_the_brains_alone(server: Simulator, shared: Pool) -> None:
    """A drain needs the processes that a terminal or a supervisor has told to end, too."""
    before = shared.pool.pids
    for pid in before:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
    for _ in before:
        assert isinstance(await shared.send(request()), Delivered)
    assert shared.pool.pids == before


async def cancelled(tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError)


class Silent:
    """A server that reads, says nothing, and counts the connections that are open."""

    connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        self.connections -= 1
        writer.close()


async def test_what_nobody_waits_for_is_given_up_over_there() -> None:
    """Cancelling an attempt cuts its connection; the others go on."""
    silent = Silent()
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(f"http://127.0.0.1:{port}/v1") as pool:
        tasks = [asyncio.create_task(pool.send(request(f"Case {number}."))) for number in range(4)]
        await until(lambda: silent.connections == 4)
        await cancelled(tasks[:3])
        await until(lambda: silent.connections == 1)
        assert not tasks[3].done()
        await cancelled(tasks[3:])
        await until(lambda: silent.connections == 0)


async def test_a_process_that_is_killed_loses_no_attempt(server: Simulator) -> None:
    """What was in flight there may be billed and can be tried again from the process in its place; but processes that
    are lost again and again at once are said to be lost for good, and nobody waits for another."""
    server.control(latency_s=60.0)
    async with running(server.base_url) as pool:
        pid = pool.pool.pids[0]
        tasks = [asyncio.create_task(pool.send(request(f"Case {number}."))) for number in range(4)]
        await until_received(server, 4)
        os.kill(pid, signal.SIGKILL)
        for reply in await asyncio.gather(*tasks):
            assert isinstance(reply, Undelivered)
            assert (reply.failure.kind, reply.failure.may_be_billed) == (FailureKind.DISCONNECTED, True)
            assert "SIGKILL" in reply.failure.message
        server.control(latency_s=0.0)
        assert isinstance(await pool.send(request()), Delivered), "waits for the one that is being started"
        for _ in range(pools.LOSSES_MAX - 2):
            before = pool.pool.pids
            os.kill(before[0], signal.SIGKILL)
            await until(partial(has_changed, pool.pool, before))
        assert not pool.gave_up.done()
        os.kill(pool.pool.pids[0], signal.SIGKILL)
        assert "SIGKILL" in await pool.gave_up
        reply = await pool.send(request())
        assert isinstance(reply, Undelivered)
        assert (reply.failure.kind, reply.failure.may_be_billed) == (FailureKind.NOT_CONNECTED, False)


def has_changed(pool: ProcessPool, before: list[int]) -> bool:
    """Whether as many others are there."""
    return len(pool.pids) == len(before) and pool.pids != before


async def test_a_process_that_stops_working_is_replaced(server: Simulator) -> None:
    """One that keeps no deadline any more is ended by force, and its attempts are heard of."""
    server.control(latency_s=60.0)
    clock = ManualClock()
    async with running(server.base_url, clock=clock) as pool:
        pid = pool.pool.pids[0]
        task = asyncio.create_task(pool.send(request(), 30.0))
        await until_received(server, 1)
        os.kill(pid, signal.SIGSTOP)
        clock.advance(30.0 + OVERDUE_S - 1)
        await asyncio.sleep(0)
        assert is_there(pid)
        clock.advance(OVERDUE_S)
        reply = await task
        assert isinstance(reply, Undelivered)
        assert reply.failure.may_be_billed
        assert not is_there(pid)


@pytest.mark.parametrize(("python", "said"), [("/bin/false", "status 1"), ("/nowhere/python", "No such file")])
async def test_processes_that_cannot_be_started_are_an_error(
    monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    """Before anything is sent, and with what is the matter."""
    monkeypatch.setattr(sys, "executable", python)
    before = open_files()
    with pytest.raises(ExecutorsFailed, match=said):
        async with running("http://127.0.0.1:1/v1", processes=2):
            raise AssertionError("never ready")
    assert open_files() - before <= 3  # what the first thread opened


async def test_a_start_that_is_broken_off_leaves_nothing() -> None:
    """Cancelled while the processes are being started: they are gone all the same."""
    seen = Pool()
    providers = {"": Reach(base_url="http://127.0.0.1:1/v1", api_key=KEY, connections=4)}

    async def start() -> None:
        async with executor_processes(
            providers, processes=1, clock=SystemClock(), gave_up=seen.gave_up.set_result
        ) as seen.pool:
            raise AssertionError("never ready")

    before = set(children())
    task = asyncio.create_task(start())
    await until(lambda: set(children()) != before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(children()) == before


def children(pid: int | str = "self") -> list[int]:
    """Of a process, by number, zombies included."""
    return [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]


BRAIN = """
import asyncio, sys
from tunemill.client.processes.pool import executor_processes
from tunemill.client.reach import Reach
from tunemill.clock import SystemClock

async def main():
    providers = {"": Reach(base_url="http://127.0.0.1:1/v1", api_key="key", connections=4)}
    async with executor_processes(providers, processes=2, clock=SystemClock(), gave_up=print) as pool:
        print(*pool.pids, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_brain_that_is_killed_takes_its_processes_along() -> None:
    """Their sockets end with it, and they with their sockets."""
    brain = await asyncio.create_subprocess_exec(sys.executable, "-c", BRAIN, stdout=subprocess.PIPE)
    assert brain.stdout is not None
    pids = [int(word) for word in (await brain.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(map(is_there, pids))
    brain.kill()
    await brain.wait()
    await until(lambda: not any(map(is_running, pids)))


def is_running(pid: int) -> bool:
    """Whether it still does something: an orphan that ended may stay a zombie where nobody collects those."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
