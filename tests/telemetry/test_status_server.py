"""The status server on real sockets of this machine."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from tests.telemetry.samples import STATISTICS, openmetrics_families, page_of

from tunemill.errors import ArgumentError
from tunemill.model import RunState
from tunemill.statistics import RunStatistics
from tunemill.telemetry import Address, RunMetrics, parse_listen, status_server


@dataclass(frozen=True)
class Reply:
    """Status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: str


async def _get(address: Address, path: str, *, method: str = "GET", accept: str = "*/*") -> Reply:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


@asynccontextmanager
async def _serving(statistics: RunStatistics = STATISTICS, host: str = "127.0.0.1") -> AsyncIterator[Address]:
    metrics = RunMetrics(lambda: statistics)
    page = page_of(statistics)
    server = status_server(Address(host, 0), statistics=lambda: statistics, registry=metrics.registry, page=page)
    async with server as access:
        yield access.address


async def test_the_bound_port_is_reported() -> None:
    """Port 0 takes any free one."""
    async with _serving() as address:
        assert address.port > 0
        assert (await _get(address, "/healthz")).status == 200


async def test_status_is_the_shared_shape() -> None:
    """Exactly what `status --json` prints."""
    async with _serving() as address:
        reply = await _get(address, "/status")
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == STATISTICS.to_json()


async def test_metrics_come_as_text() -> None:
    """As Prometheus has always read it."""
    async with _serving() as address:
        reply = await _get(address, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'tunemill_requests{run="movie-plots",state="completed"} 200.0' in reply.body


async def test_metrics_come_as_openmetrics_when_asked_for() -> None:
    """By the Accept header, as Prometheus sends it."""
    async with _serving() as address:
        reply = await _get(address, "/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics_families(reply.body)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (RunState.RUNNING, 200),
        (RunState.PAUSED, 200),
        (RunState.DRAINING, 503),
        (RunState.FINISHED, 503),
        (RunState.IDLE, 503),
    ],
)
async def test_ready_is_a_run_that_works(state: RunState, status: int) -> None:
    """Or is paused, and takes orders; draining and ended runs are healthy but not ready. The answer says the state."""
    async with _serving(replace(STATISTICS, state=state)) as address:
        reply = await _get(address, "/readyz")
        assert (await _get(address, "/healthz")).status == 200
    assert reply.status == status
    assert json.loads(reply.body) == {"ready": status == 200, "state": state.value}


async def test_whoever_wires_may_say_what_ready_means() -> None:
    """A callable of its own goes before the state."""
    metrics = RunMetrics(lambda: STATISTICS)
    server = status_server(
        Address("127.0.0.1", 0),
        statistics=lambda: STATISTICS,
        registry=metrics.registry,
        page=page_of(STATISTICS),
        ready=lambda: False,
    )
    async with server as access:
        assert (await _get(access.address, "/readyz")).status == 503


async def test_unknown_paths_and_methods_are_refused() -> None:
    """It answers what it documents, and nothing can be changed through it."""
    async with _serving() as address:
        assert (await _get(address, "/secrets")).status == 404
        assert (await _get(address, "/status", method="POST")).status == 405
        assert (await _get(address, "/")).status == 200


async def test_the_server_is_gone_afterwards() -> None:
    """The port can be taken again at once."""
    async with _serving() as address:
        await _get(address, "/healthz")
    with pytest.raises(OSError):
        await asyncio.open_connection(address.host, address.port)


async def test_signals_stay_whose_they_were() -> None:
    """The run decides what SIGTERM and SIGINT do."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    async with _serving():
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_port_in_use_is_a_mistake_that_can_be_mended() -> None:
    """The message names the flag, the value and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        metrics = RunMetrics(lambda: STATISTICS)
        server = status_server(
            Address("127.0.0.1", port),
            statistics=lambda: STATISTICS,
            registry=metrics.registry,
            page=page_of(STATISTICS),
        )
        with pytest.raises(ArgumentError) as raised:
            async with server:
                pass
    assert str(raised.value).startswith(
        f"--listen = '127.0.0.1:{port}': cannot listen there (Address already in use); "
    )
    assert "another port" in raised.value.mend


async def test_a_host_of_another_machine_is_a_mistake_that_can_be_mended() -> None:
    """203.0.113.0/24 is for documentation: no machine has it."""
    metrics = RunMetrics(lambda: STATISTICS)
    server = status_server(
        Address("203.0.113.7", 0),
        statistics=lambda: STATISTICS,
        registry=metrics.registry,
        page=page_of(STATISTICS),
    )
    with pytest.raises(ArgumentError, match=r"--listen = '203\.0\.113\.7:0': cannot listen there"):
        async with server:
            pass


async def test_what_goes_wrong_inside_stays_what_it_is() -> None:
    """An error of the run passes through the server unwrapped."""
    with pytest.raises(ZeroDivisionError):
        async with _serving():
            raise ZeroDivisionError


async def test_clients_that_hang_do_not_hold_up_the_end() -> None:
    """One says nothing, one half a request, one keeps its connection, one never reads: all are cut off.

    The limit of time is only there to fail where it would otherwise wait for ever.
    """
    many = tuple(replace(STATISTICS.limits[0], model="m" * 200 + str(number)) for number in range(20_000))
    async with asyncio.timeout(60):
        async with _serving(replace(STATISTICS, limits=many)) as address:
            connections = [await asyncio.open_connection(address.host, address.port) for _ in range(4)]
            connections[1][1].write(b"GET /metrics HTTP/1.1\r\nHost:")
            connections[2][1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await connections[2][0].readuntil(b"}")
            unread = connections[3][1].get_extra_info("socket")
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connections[3][1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await connections[3][0].readexactly(15)
        for _, writer in connections:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:9400", Address("127.0.0.1", 9400)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("localhost:9400", Address("localhost", 9400)),
        (" metrics.internal:1 ", Address("metrics.internal", 1)),
        ("[::1]:9400", Address("::1", 9400)),
        ("[::]:65535", Address("::", 65535)),
        ("9400", Address("127.0.0.1", 9400)),
    ],
)
def test_an_address_is_host_and_port(value: str, address: Address) -> None:
    """A port alone is loopback: nobody listens to the world by leaving something out."""
    assert parse_listen(value) == address


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "the port must be"),
        ("localhost", "the port must be"),
        ("localhost:", "the port must be"),
        ("localhost:http", "the port must be"),
        ("localhost:-1", "the port must be"),
        ("localhost:65536", "the port must be"),
        ("localhost:" + "9" * 5_000, "the port must be"),
        ("localhost:８０", "the port must be"),
        (":9400", "names no host"),
        ("::1:9400", "brackets"),
        ("[::1]", "brackets"),
        ("[::1:9400", "brackets"),
        ("[localhost]:9400", "no IPv6 address"),
        ("http://localhost:9400", "not a URL"),
    ],
)
def test_a_wrong_address_is_refused_with_the_mend(value: str, problem: str) -> None:
    """The message names the flag, the value and what to write instead."""
    with pytest.raises(ArgumentError) as raised:
        parse_listen(value)
    assert problem in raised.value.problem
    assert raised.value.key == "--listen"
    assert ":9400" in raised.value.mend


def test_an_address_reads_as_it_is_written() -> None:
    """With brackets where there are colons."""
    assert [str(parse_listen(value)) for value in ("[::1]:1", "localhost:2")] == ["[::1]:1", "localhost:2"]
