"""A message to a webhook, over real connections: what is tried again, when, for how long, and what is said of it."""

import asyncio

import pytest
from tests.support.receiver import HANG, Receiver, nobody_listens

from tunemill.client.webhook import Delivery, NotPosted, Patience, Posted, post
from tunemill.clock import SystemClock

MESSAGE = {"text": "films: finished"}


class Pauses(SystemClock):
    """Waits no time, and remembers for how long it was to wait; its time is what was waited."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def monotonic(self) -> float:
        return sum(self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def _posted(url: str, clock: Pauses | None = None, patience: Patience | None = None) -> Delivery:
    return asyncio.run(post(url, MESSAGE, patience=patience or Patience(), clock=clock or Pauses()))


def test_a_message_arrives_as_json() -> None:
    """Once, as the one field that Slack, Mattermost and Discord read."""
    with Receiver() as there:
        assert _posted(there.url) == Posted(attempts=1)
    assert there.bodies == [MESSAGE]
    assert there.headers[0]["content-type"] == "application/json"


def test_what_may_pass_is_tried_again_at_growing_intervals() -> None:
    """Server errors, and a timeout of the server's own."""
    clock = Pauses()
    with Receiver(500, 503, 408) as there:
        assert _posted(there.url, clock) == Posted(attempts=4)
    assert clock.seconds == [1.0, 2.0, 4.0]


def test_retry_after_is_honoured() -> None:
    """In seconds, as Slack says it."""
    clock = Pauses()
    with Receiver((429, {"Retry-After": "30"})) as there:
        assert _posted(there.url, clock) == Posted(attempts=2)
    assert clock.seconds == [30.0]


def test_a_wait_that_is_longer_than_the_patience_is_not_waited() -> None:
    """Whoever asks for an hour is not asked again."""
    clock = Pauses()
    with Receiver((429, {"Retry-After": "3600"})) as there:
        assert _posted(there.url, clock) == NotPosted(problem="it answers with status 429", attempts=1)
    assert clock.seconds == []


def test_patience_ends() -> None:
    """After two minutes, whatever comes."""
    clock = Pauses()
    with Receiver(*[500] * 100) as there:
        outcome = _posted(there.url, clock)
    assert isinstance(outcome, NotPosted)
    assert 60 < sum(clock.seconds) <= 120
    assert outcome.attempts == len(clock.seconds) + 1


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_is_final(status: int) -> None:
    """A webhook that was revoked, or a channel that is archived, is not there the next time either."""
    with Receiver(status) as there:
        assert _posted(there.url) == NotPosted(problem=f"it answers with status {status}", attempts=1)


def test_a_redirect_is_not_followed() -> None:
    """The message goes to whom the address names, and to nobody else."""
    with Receiver() as elsewhere, Receiver((307, {"Location": elsewhere.url})) as there:
        assert _posted(there.url) == NotPosted(problem="it answers with status 307", attempts=1)
    assert elsewhere.bodies == []


@pytest.mark.parametrize("reply", [HANG, None])
def test_nobody_there_and_nobody_answering_are_bounded_and_name_no_address(reply: str | None) -> None:
    """The host may be said; the rest of the address is the secret."""
    patience = Patience(attempt_s=0.2, total_s=0.0)
    with Receiver(*([reply] if reply else [])) as there:
        outcome = _posted(there.url if reply else nobody_listens(), patience=patience)
    assert isinstance(outcome, NotPosted)
    assert "127.0.0.1" in outcome.problem
    assert not [part for part in ("services", "T0P", "S3CRET") if part in repr(outcome)]
