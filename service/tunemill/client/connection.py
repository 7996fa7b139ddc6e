"""What broke a call, and whether it had left at all, told from the exception that lies beneath the SDK's.

The SDK's aiohttp transport calls every lost connection a ConnectTimeout, also one that the server cut after it had
done the work, so its own exception types must not be asked. aiohttp's know the difference.
"""

from collections.abc import Iterator

import aiohttp
import httpx2

_NEVER_LEFT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    httpx2.UnsupportedProtocol,
)


def nothing_was_sent(error: BaseException) -> bool:
    """Whether the connection was never made. Anything that is not known to be so counts as sent."""
    return any(isinstance(cause, _NEVER_LEFT) for cause in _causes(error))


def what_broke(error: BaseException) -> str:
    """The innermost cause, which says most; where no connection was made, with whom it was tried."""
    causes = list(_causes(error))
    said = f"{type(causes[-1]).__name__}: {causes[-1]}"
    unreached = next((cause for cause in causes if isinstance(cause, aiohttp.ClientConnectorError)), None)
    return said if unreached is None else f"{said}, connecting to {unreached.host}:{unreached.port}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
