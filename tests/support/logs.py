"""A run configures logging for its whole process. Whoever lets one work in this process sets that back."""

import contextlib
import logging
from collections.abc import Iterator

import structlog

_LIBRARIES = ("asyncio", "aiohttp", "uvicorn")  # the level of which a run may change


@contextlib.contextmanager
def logs_restored() -> Iterator[None]:
    """As it was before, when the block is left."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in _LIBRARIES}
    handlers = list(root.handlers)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        structlog.reset_defaults()
