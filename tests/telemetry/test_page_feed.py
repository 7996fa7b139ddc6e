"""One stream to many readers, none of whom is waited for."""

import asyncio
from collections.abc import AsyncIterator

import orjson

from tunemill.model import JsonObject
from tunemill.telemetry.http.page.feed import QUEUE_MAX, READERS_MAX, Feed


class _Counted:
    """What the whole is, and how often somebody asked."""

    def __init__(self) -> None:
        self.times = 0

    def whole(self) -> JsonObject:
        self.times += 1
        return {"whole": self.times}


def _message(encoded: bytes) -> JsonObject:
    assert encoded.endswith(b"\n\n")
    [data] = [line for line in encoded.splitlines() if line.startswith(b"data: ")]
    message: JsonObject = orjson.loads(data.removeprefix(b"data: "))
    return message


async def _next(stream: AsyncIterator[bytes]) -> JsonObject:
    return _message(await anext(stream))


async def test_a_reader_begins_with_the_whole() -> None:
    """And then hears what everybody hears; a browser is told when to come back."""
    feed = Feed(_Counted().whole)
    stream = feed.read()
    first = await anext(stream)
    assert first.startswith(b"retry: ")
    assert _message(first) == {"whole": 1}
    feed.send({"news": 1})
    assert await _next(stream) == {"news": 1}


async def test_the_whole_is_made_once_for_all_who_come_between_two_messages() -> None:
    """A hundred who come at once cost no more than one."""
    counted = _Counted()
    feed = Feed(counted.whole)
    streams = [feed.read() for _ in range(READERS_MAX)]
    for stream in streams:
        await anext(stream)
    assert counted.times == 1
    feed.send({"news": 1})
    await anext(feed.read(), None)
    assert [await _next(stream) for stream in streams] == [{"news": 1}] * READERS_MAX


async def test_who_does_not_keep_up_begins_anew() -> None:
    """What was queued for it is gone, the whole takes its place, and nobody else notices."""
    feed = Feed(_Counted().whole)
    slow, quick = feed.read(), feed.read()
    await anext(slow)
    await anext(quick)
    for number in range(QUEUE_MAX + 1):
        feed.send({"news": number})
        assert await _next(quick) == {"news": number}
    assert await _next(slow) == {"whole": 2}
    feed.send({"news": 9})
    assert await _next(slow) == {"news": 9}


async def test_leaving_frees_what_belongs_to_a_reader() -> None:
    """Whether it closes or is cancelled."""
    feed = Feed(_Counted().whole)
    stream = feed.read()
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert feed.readers == 1
    waiting.cancel()
    await asyncio.wait({waiting})
    assert feed.readers == 0


async def test_nobody_more_is_let_in_than_there_is_room_for() -> None:
    """The stream of one too many is empty."""
    feed = Feed(_Counted().whole)
    streams = [feed.read() for _ in range(READERS_MAX)]
    for stream in streams:
        await anext(stream)
    assert feed.is_full
    assert [encoded async for encoded in feed.read()] == []


async def test_the_end_comes_behind_the_last_message() -> None:
    """Also for who is slow, and for who comes too late."""
    feed = Feed(_Counted().whole)
    slow, quick = feed.read(), feed.read()
    await anext(slow)
    await anext(quick)
    for number in range(QUEUE_MAX - 1):
        feed.send({"news": number})
        await anext(quick)
    feed.send({"news": "last"})
    feed.close()
    assert [_message(encoded) async for encoded in quick] == [{"news": "last"}]
    assert [_message(encoded) async for encoded in slow] == [{"whole": 2}]
    assert [_message(encoded) async for encoded in feed.read()] == [{"whole": 2}]


async def test_without_a_reader_nothing_is_encoded() -> None:
    """What nobody listens to costs nothing."""
    counted = _Counted()
    Feed(counted.whole).send({"news": 1})
    assert counted.times == 0
