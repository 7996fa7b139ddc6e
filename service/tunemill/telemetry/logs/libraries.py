"""What libraries log, as lines of ours (`library_log`), without what they say of requests.

Their warnings and errors are always heard. At the level debug so is the rest of what asyncio, aiohttp and uvicorn say.
Nobody else: the SDK logs every request with its prompt, and HTTP clients log addresses.
"""

import logging
import sys

import structlog

from tunemill.telemetry.safe_text import one_line

_MESSAGE_CHARS_MAX = 2_000
_SAY_NOTHING_OF_REQUESTS = ("asyncio", "aiohttp", "uvicorn")


def forward_library_logs(level: int) -> None:
    """From now on, also for what libraries set up themselves when they are loaded (the SDK does, by OPENAI_LOG)."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if _is_ours(handler) or _writes_to_the_terminal(handler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    for name in _SAY_NOTHING_OF_REQUESTS:
        logging.getLogger(name).setLevel(logging.DEBUG if level <= logging.DEBUG else logging.NOTSET)
    logging.captureWarnings(capture=True)


class _LibraryHandler(logging.Handler):
    """Hands records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and record.name.partition(".")[0] not in _SAY_NOTHING_OF_REQUESTS:
            return
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(
            level, "library_log", logger=record.name, message=_message(record), exc_info=record.exc_info
        )


def _message(record: logging.LogRecord) -> str:
    try:
        said = record.getMessage()
    except (TypeError, ValueError, KeyError):  # its arguments do not fit: then without them
        said = str(record.msg)
    return one_line(said, chars_max=_MESSAGE_CHARS_MAX)


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler, _LibraryHandler)


def _writes_to_the_terminal(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and handler.stream in (sys.stderr, sys.stdout)
