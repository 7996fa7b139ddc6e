"""The guard of `tests/conftest.py`, tried out."""

import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("8.8.8.8", 53)])
def test_a_connection_to_another_machine_is_refused_at_once(address: tuple[str, int], only_loopback: list[str]) -> None:
    """The refusal comes from the guard, before anything leaves, and is remembered."""
    with socket.socket() as there, pytest.raises(ConnectionRefusedError, match="loopback only"):
        there.connect(address)
    assert only_loopback.pop() == f"socket.connect to {address!r}"  # or the guard would fail this very test


def test_a_datagram_to_another_machine_is_refused_too(only_loopback: list[str]) -> None:
    """UDP needs no connection, and is guarded all the same."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there, pytest.raises(ConnectionRefusedError):
        there.sendto(b"hello", ("2001:db8::1", 9))
    assert only_loopback.pop()


def test_this_machine_may_be_reached(only_loopback: list[str]) -> None:
    """Loopback passes."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
        pass
    assert only_loopback == []
