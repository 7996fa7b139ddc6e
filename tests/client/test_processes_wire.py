"""What the brain and an executor process say to each other: every value comes over as it is, in whatever pieces."""

import asyncio
import socket
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.client.processes import messages
from tunemill.client.processes.link import FRAME_PAYLOAD_BYTES, Item, Link
from tunemill.client.reach import Reach
from tunemill.model import (
    Completion,
    Delivered,
    Failure,
    FailureKind,
    Lane,
    LimitHints,
    Reply,
    Request,
    Undelivered,
    Usage,
)

COUNTS = st.integers(0, 2**53)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
HINTS = st.builds(LimitHints) | st.builds(
    LimitHints,
    requests_per_minute=st.none() | COUNTS,
    tokens_per_minute=st.none() | COUNTS,
    requests_remaining=st.none() | COUNTS,
    tokens_remaining=st.none() | COUNTS,
)
COMPLETIONS = st.builds(
    Completion,
    text=TEXTS,
    finish_reason=TEXTS,
    refusal=st.none() | TEXTS,
    tool_calls=st.lists(st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2),
    usage=st.none() | st.builds(Usage, input=COUNTS, output=COUNTS, cached_input=COUNTS, reasoning=COUNTS),
    model=st.none() | TEXTS,
    provider_request_id=st.none() | TEXTS,
)
FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    message=TEXTS,
    may_be_billed=st.booleans(),
    status=st.none() | st.integers(100, 599),
    retry_after_s=st.none() | st.floats(0, 1e9),
)
REPLIES: st.SearchStrategy[Reply] = st.builds(
    Delivered, body=st.binary(max_size=200), hints=HINTS, completion=COMPLETIONS
) | st.builds(Undelivered, failure=FAILURES, hints=HINTS)


def request(body: bytes, number: int = 0) -> Request:
    return Request(
        id=f"{number:032x}",
        row_id="1" * 32,
        step="plot",
        sample=0,
        lane=Lane("judge", "small"),
        path="/chat/completions",
        body=body,
        input_tokens_max=200,
        output_tokens_max=50,
    )


class Heard:
    """A link's owner that keeps what comes, each item with the payload that was behind it."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Reply]] = []
        self.orders: list[messages.Attempt | messages.Cancelled | messages.Patience] = []
        self.frames = 0
        self.is_lost = asyncio.Event()

    def take_replies(self, items: Sequence[Item], payload: memoryview) -> None:
        self.frames += 1
        self.replies.extend(messages.read_replies(items, payload))

    def take_orders(self, items: Sequence[Item], payload: memoryview) -> None:
        self.frames += 1
        self.orders.extend(messages.read_orders(items, payload))


class Wire(asyncio.Transport):
    """Where a link writes to: bytes in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


@given(replies=st.lists(REPLIES, max_size=6), cuts=st.lists(st.integers(1, 700), max_size=8))
def test_replies_come_over_as_they_are_in_whatever_pieces(replies: list[Reply], cuts: list[int]) -> None:
    """Delivered and undelivered, with their hints, bodies and readings, in order."""

    async def talk() -> tuple[Heard, list[int]]:
        wire, heard = Wire(), Heard()
        sending = Link(receive=heard.take_replies, lost=heard.is_lost.set)
        sending.connection_made(wire)
        for number, reply in enumerate(replies):
            sending.post(*messages.reply(number, reply))
        await asyncio.sleep(0)
        receiving = Link(receive=heard.take_replies, lost=heard.is_lost.set)
        rest = b"".join(wire.written)
        for cut in cuts:
            receiving.data_received(rest[:cut])
            rest = rest[cut:]
        receiving.data_received(rest)
        return heard, [len(wire.written)]

    heard, writes = asyncio.run(talk())
    assert heard.replies == list(enumerate(replies))
    assert writes == [min(1, len(replies))], "what is posted in one turn leaves in one write"


def test_orders_come_over_as_they_are() -> None:
    """Attempts with their bodies, numbers of those that nobody waits for, and that those of a model are waited for."""

    async def talk() -> list[messages.Attempt | messages.Cancelled | messages.Patience]:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        heard = Heard()
        _, brain = await loop.create_unix_connection(
            lambda: Link(receive=heard.take_replies, lost=heard.is_lost.clear), sock=ours
        )
        await loop.create_unix_connection(lambda: Link(receive=heard.take_orders, lost=heard.is_lost.set), sock=theirs)
        brain.post(*messages.attempt(7, "judge", request(b'{"n":1}'), 2.5))
        brain.post(messages.cancelled(7))
        brain.post(messages.patience("judge", "small", is_patient=True))
        brain.post(*messages.attempt(8, "judge", request(b""), 60.0))
        brain.close()
        await heard.is_lost.wait()
        return heard.orders

    def told(number: int, timeout_s: float, body: bytes) -> messages.Attempt:
        return messages.Attempt(
            number=number, provider="judge", path="/chat/completions", model="small", timeout_s=timeout_s, body=body
        )

    patience = messages.Patience("judge", "small", is_patient=True)
    assert asyncio.run(talk()) == [told(7, 2.5, b'{"n":1}'), messages.Cancelled(7), patience, told(8, 60.0, b"")]


def test_what_the_other_end_does_not_read_waits_and_comes_in_the_end() -> None:
    """Far more than a socket holds is posted before anybody reads; all of it arrives, in frames of bounded size."""
    bodies = [bytes([number]) * (FRAME_PAYLOAD_BYTES // 3) for number in range(24)]

    async def talk() -> Heard:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        heard = Heard()
        _, brain = await loop.create_unix_connection(
            lambda: Link(receive=heard.take_replies, lost=heard.is_lost.clear), sock=ours
        )
        for number, body in enumerate(bodies):
            brain.post(*messages.attempt(number, "judge", request(body), 60.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not heard.frames
        await loop.create_unix_connection(lambda: Link(receive=heard.take_orders, lost=heard.is_lost.set), sock=theirs)
        brain.post(messages.cancelled(0))  # waits like the rest
        brain.close()
        await heard.is_lost.wait()
        return heard

    heard = asyncio.run(talk())
    assert [order.body for order in heard.orders if isinstance(order, messages.Attempt)] == bodies
    assert heard.orders[-1] == messages.Cancelled(0)
    assert heard.frames >= len(bodies) // 4


def test_a_key_is_in_no_representation() -> None:
    """What is greeted with holds keys, and shows none."""
    reach = Reach(base_url="https://host/v1", api_key="sk-secret", connections=4)
    assert messages.read_greeting(orjson.loads(messages.greeting({"": reach}))) == {"": reach}
    assert "sk-secret" not in repr(reach)


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_can_be_told(kind: FailureKind) -> None:
    """The kinds travel by their values, of which each stands for one kind."""
    failure = Failure(kind=kind, message="so", may_be_billed=True, status=500, retry_after_s=0.5)
    told = Undelivered(failure=failure, hints=LimitHints(tokens_remaining=0))
    item, payload = messages.reply(3, told)
    assert list(messages.read_replies([orjson.loads(item)], memoryview(b"".join(payload)))) == [(3, told)]
