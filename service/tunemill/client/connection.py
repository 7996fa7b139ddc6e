"""Whether a broken call had left at all, told from the exception that lies beneath the SDK's.

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


def root_of(error: BaseException) -> BaseException:
    """The exception that says most about what broke: the innermost cause."""
    return list(_causes(error))[-1]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
