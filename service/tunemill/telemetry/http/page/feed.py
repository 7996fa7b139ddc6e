"""One stream of messages to many readers: made and encoded once, whoever listens, and never waiting for any of them.

A message of the stream is a server-sent event with a line of JSON. A reader begins with the whole; one that does not
keep up loses what is queued for it and gets the whole again. Knows nothing of what the messages say.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import orjson

from tunemill.model import JsonObject

READERS_MAX = 100
QUEUE_MAX = 4
RECONNECT_MS = 2_000  # after which a browser whose connection broke tries again


class Feed:
    """Readers `read`; whoever owns the feed `send`s, and `close`s it at the end."""

    def __init__(self, whole: Callable[[], JsonObject]) -> None:
        """`whole` is all that a new reader needs to know."""
        self._whole = whole
        self._encoded: bytes | None = None  # the whole, for as long as nothing new was sent
        self._readers: set[asyncio.Queue[bytes | None]] = set()
        self._is_closed = False

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._readers)

    @property
    def is_full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._readers) >= READERS_MAX

    def send(self, message: JsonObject) -> None:
        """To everybody. Only where somebody listens is it encoded."""
        self._encoded = None
        if not self._readers:
            return
        encoded = event_of(message)
        for reader in self._readers:
            if reader.full():
                _empty(reader)
                reader.put_nowait(self._beginning())
            else:
                reader.put_nowait(encoded)

    def close(self) -> None:
        """End every reader's stream, behind what is queued for it."""
        self._is_closed = True
        for reader in self._readers:
            if reader.full():
                _empty(reader)
                reader.put_nowait(self._beginning())
            reader.put_nowait(None)

    async def read(self) -> AsyncIterator[bytes]:
        """A reader's stream, from the whole on to the end of the feed; empty where the feed is full.

        Leaving it frees all that belongs to it.
        """
        if self.is_full:
            return
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX)
        queue.put_nowait(self._beginning())
        if self._is_closed:
            queue.put_nowait(None)
        self._readers.add(queue)
        try:
            while (encoded := await queue.get()) is not None:
                yield encoded
        finally:
            self._readers.discard(queue)

    def _beginning(self) -> bytes:
        if self._encoded is None:
            self._encoded = b"retry: %d\n" % RECONNECT_MS + event_of(self._whole())
        return self._encoded


def event_of(message: JsonObject) -> bytes:
    """One server-sent event. JSON has no line ends of its own, so that it is one line, whatever its texts say."""
    return b"data: " + orjson.dumps(message) + b"\n\n"


def _empty(queue: asyncio.Queue[bytes | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
