"""Where the run's HTTP address is: what `--listen` says, and the socket that listens there.

Knows nothing of what is served.
"""

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass

from tunemill.errors import ArgumentError

LOOPBACK = "127.0.0.1"
BACKLOG = 100
_FLAG = "--listen"
_PORT_MAX = 65_535
_UNREAD_MAX_MS = 30_000
_MEND = f"write HOST:PORT, such as {LOOPBACK}:9400 for this machine alone or 0.0.0.0:9400 for everybody"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, or a port alone, which means loopback.

    Raises ArgumentError.
    """
    host, colon, port = value.strip().rpartition(":")
    if not colon:
        return Address(LOOPBACK, _port(port, value))
    if host.startswith("[") and host.endswith("]"):
        return Address(_ipv6(host[1:-1], value), _port(port, value))
    if "/" in value:
        raise _refused("it is an address to listen at and not a URL", value)
    if ":" in host or "[" in host or "]" in host:
        raise _refused("an IPv6 address must stand in brackets", value, mend="write it as [::1]:9400")
    if not host:
        raise _refused("it names no host", value)
    return Address(host, _port(port, value))


async def check_listen(address: Address) -> None:
    """See whether the address can be had at all. Raises ArgumentError."""
    (await listening_socket(address)).close()


async def listening_socket(address: Address) -> socket.socket:
    """A socket that listens there. Raises ArgumentError."""
    loop = asyncio.get_running_loop()
    try:
        candidates = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _refused("there is no such host", str(address)) from error
    family, _, _, _, where = candidates[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _cut_off_who_does_not_read(listening)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _cannot_listen(address, error) from error
    listening.setblocking(False)
    return listening


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can connect to the socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def _cut_off_who_does_not_read(listening: socket.socket) -> None:
    """A client that is gone without a word, or takes nothing any more, is dropped by the system after half a minute.

    Connections inherit it. Where the option is missing (it is Linux's), they last until TCP itself gives up.
    """
    with contextlib.suppress(AttributeError, OSError):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MAX_MS)


def _cannot_listen(address: Address, error: OSError) -> ArgumentError:
    if isinstance(error, PermissionError):
        return _refused("this port needs privileges", str(address), mend="take a port from 1024 up")
    return _refused(
        f"cannot listen there ({error.strerror or error})",
        str(address),
        mend=f"take another port, or port 0 for any free one, and a host that this machine has, such as {LOOPBACK}",
    )


def _port(text: str, value: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_PORT_MAX))
    if not is_number or int(text) > _PORT_MAX:
        raise _refused(f"the port must be a whole number from 0 to {_PORT_MAX}", value)
    return int(text)


def _ipv6(text: str, value: str) -> str:
    try:
        ipaddress.IPv6Address(text)
    except ValueError as error:
        raise _refused("in the brackets is no IPv6 address", value, mend="write it as [::1]:9400") from error
    return text


def _refused(problem: str, value: str, *, mend: str = _MEND) -> ArgumentError:
    return ArgumentError(problem, mend=mend, key=_FLAG, value=value)
