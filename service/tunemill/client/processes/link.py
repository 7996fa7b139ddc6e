"""One end of the socket between the brain and an executor process: items and their payloads, in batches.

    frame    8 bytes of lengths, a JSON array of items, their payloads one after the other

Whatever is posted within one turn of the event loop leaves together. What an item means, and how much of the payload
is its own, is up to `messages`. While the other end does not read, what is posted waits here, and is copied nowhere.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import orjson

FRAME_PAYLOAD_BYTES = 1 << 20  # a batch is not made much longer than this, so that no big copy of it is
WRITE_BUFFER_BYTES = 1 << 20
_LENGTHS = struct.Struct("<II")

Item: TypeAlias = list[Any]  # of what JSON can say; typed where it is read, in `messages`
Receive: TypeAlias = Callable[[Sequence[Item], memoryview], None]


class Link(asyncio.Protocol):
    """`receive` gets each frame's items with their payloads, `lost` is called once, when the other end is gone."""

    def __init__(self, *, receive: Receive, lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._outbox: list[tuple[bytes, Sequence[bytes]]] = []
        self._is_due = False  # whether `_flush` is about to be called
        self._is_full = False  # whether the other end has to read first
        self._pieces: list[bytes] = []
        self._bytes_here = 0
        self._bytes_needed = _LENGTHS.size

    def post(self, item: bytes, payload: Sequence[bytes] = ()) -> None:
        """Send an item, as JSON, with its payload; nothing is sent any more to an end that is gone."""
        self._outbox.append((item, payload))
        if not self._is_due and not self._is_full:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Send what was posted, then end. `lost` is called when that is done."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have no such base
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        self._outbox.clear()
        self._lost()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._is_full = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See asyncio. Pieces are put together when a frame is whole, not before."""
        self._pieces.append(data)
        self._bytes_here += len(data)
        if self._bytes_here < self._bytes_needed:
            return
        text = data if len(self._pieces) == 1 else b"".join(self._pieces)
        at = self._take_frames(text)
        self._pieces = [text[at:]] if at < len(text) else []
        self._bytes_here = len(text) - at

    def _take_frames(self, text: bytes) -> int:
        """Hand over every whole frame; where the rest begins."""
        at, view = 0, memoryview(text)
        while len(text) - at >= _LENGTHS.size:
            items_bytes, payload_bytes = _LENGTHS.unpack_from(text, at)
            items_at = at + _LENGTHS.size
            payload_at = items_at + items_bytes
            end = payload_at + payload_bytes
            if end > len(text):
                self._bytes_needed = end - at
                return at
            self._receive(orjson.loads(view[items_at:payload_at]), view[payload_at:end])
            at = end
        self._bytes_needed = _LENGTHS.size
        return at

    def _flush(self) -> None:
        self._is_due = False
        while self._outbox and self._transport is not None and not self._is_full:
            self._transport.write(b"".join(self._frame()))

    def _frame(self) -> list[bytes]:
        """The next frame, of what was posted first."""
        items: list[bytes] = []
        payloads: list[bytes] = []
        size = 0
        for item, payload in self._outbox:
            items.append(item)
            payloads += payload
            size += sum(map(len, payload))
            if size >= FRAME_PAYLOAD_BYTES:
                break
        del self._outbox[: len(items)]
        text = b"[%b]" % b",".join(items)
        return [_LENGTHS.pack(len(text), size), text, *payloads]
