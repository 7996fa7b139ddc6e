"""What broke a call, told from the exceptions of the layers below."""

import socket

import aiohttp
import openai
import pytest
from aiohttp.client_reqrep import ConnectionKey

from tunemill.client.connection import nothing_was_sent, what_broke

HOST = ConnectionKey("api.nowhere.example", 443, True, True, None, None, None)
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
REFUSED = ConnectionRefusedError(111, "Connect call failed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            aiohttp.ClientConnectorDNSError(HOST, UNKNOWN),
            f"gaierror: {UNKNOWN}, connecting to api.nowhere.example:443",
        ),
        (
            aiohttp.ClientConnectorError(HOST, REFUSED),
            f"ConnectionRefusedError: {REFUSED}, connecting to api.nowhere.example:443",
        ),
    ],
)
def test_who_could_not_be_reached_is_named(error: aiohttp.ClientConnectorError, said: str) -> None:
    """The system's words name no host; aiohttp's error between them and the SDK's does."""
    error.__cause__ = error.os_error
    wrapped = openai.OpenAIError("Connection error.")
    wrapped.__cause__ = error
    for told in (error, wrapped):
        assert nothing_was_sent(told)
        assert what_broke(told) == said


def test_a_cut_connection_is_told_by_its_innermost_cause() -> None:
    """It was made, so that the host is no news, and something may have been sent."""
    error = aiohttp.ClientOSError(104, "cannot write")
    error.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert not nothing_was_sent(error)
    assert what_broke(error) == "ConnectionResetError: [Errno 104] Connection reset by peer"
