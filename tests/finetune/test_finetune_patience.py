"""When a call is repeated, when it is not, and doing a thing exactly once; on a clock that costs no time."""

from collections.abc import Awaitable, Callable

import pytest
from tests.finetune.finetune_support import SkippingClock

from tunemill.client.fine_tuning_values import (
    TargetBusy,
    TargetError,
    TargetRefused,
    TargetUncertain,
    TargetUnreachable,
)
from tunemill.errors import ProviderRefused, ProviderUnreachable
from tunemill.finetune.once import Deed, Doer, Looking
from tunemill.finetune.patience import FOR_READS, FOR_SIDE_EFFECTS, Patience, final, patiently
from tunemill.finetune.record import Begun, Done, Effect, NotBegun, Refused
from tunemill.model import FailureKind

REFUSED = TargetRefused("HTTP 400: no", kind=FailureKind.BAD_REQUEST, status=400)
BUSY = TargetBusy("HTTP 429: later", retry_after_s=None)
CUT = TargetUncertain("ServerDisconnectedError: gone")
DOWN = TargetUnreachable("refused")


def script(*steps: TargetError | str) -> Callable[[], Awaitable[str]]:
    """A call that raises or answers step by step, and then the last step for ever."""
    left = list(steps)

    async def call() -> str:
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, TargetError):
            raise step
        return step

    return call


async def ask(clock: SkippingClock, *steps: TargetError | str, patience: Patience | None = None) -> str:
    return await patiently(
        script(*steps),
        patience=patience or Patience(),
        repeat=FOR_READS,
        clock=clock,
        told=lambda error, delay_s: None,
    )


@pytest.mark.parametrize("error", [BUSY, CUT, DOWN])
async def test_a_read_is_repeated_after_anything_but_a_refusal(error: TargetError) -> None:
    """The waits double, and the answer counts."""
    clock = SkippingClock()
    assert await ask(clock, error, error, error, "answer") == "answer"
    assert clock.waits_s == [1.0, 2.0, 4.0]


async def test_a_refusal_is_not_repeated() -> None:
    """What was refused once will be refused again."""
    clock = SkippingClock()
    with pytest.raises(TargetRefused):
        await ask(clock, REFUSED, "answer")
    assert clock.waits_s == []


async def test_patience_ends_before_its_total_is_exceeded() -> None:
    """The last error is the one that is told."""
    clock = SkippingClock()
    with pytest.raises(TargetUncertain, match="gone"):
        await ask(clock, CUT, patience=Patience(total_s=100.0))
    assert clock.waits_s == [1, 2, 4, 8, 16, 32]


async def test_waits_grow_to_their_longest_and_no_further() -> None:
    """A day of outage is asked about once a minute, and not once in a growing number of hours."""
    clock = SkippingClock()
    with pytest.raises(TargetUnreachable):
        await ask(clock, DOWN)
    assert max(clock.waits_s) == 60.0
    assert 1740 <= sum(clock.waits_s) <= 1800


@pytest.mark.parametrize(("asked_s", "waited_s"), [(0.0, 1.0), (17.0, 17.0), (86_400.0, 600.0)])
async def test_what_the_target_asks_for_is_honoured_within_bounds(asked_s: float, waited_s: float) -> None:
    """Never less than a second and never more than ten minutes."""
    clock = SkippingClock()
    await ask(clock, TargetBusy("later", retry_after_s=asked_s), "answer")
    assert clock.waits_s == [waited_s]


async def test_each_failure_is_told_with_its_wait() -> None:
    """So that nobody has to ask whether it hangs."""
    told: list[tuple[str, float]] = []
    await patiently(
        script(DOWN, BUSY, "answer"),
        patience=Patience(),
        repeat=FOR_SIDE_EFFECTS,
        clock=SkippingClock(),
        told=lambda error, delay_s: told.append((str(error), delay_s)),
    )
    assert told == [("refused", 1.0), ("HTTP 429: later", 2.0)]


async def test_a_side_effect_that_may_have_happened_is_not_repeated() -> None:
    """That is somebody else's decision, after a look at the list."""
    with pytest.raises(TargetUncertain):
        await patiently(
            script(CUT, "answer"),
            patience=Patience(),
            repeat=FOR_SIDE_EFFECTS,
            clock=SkippingClock(),
            told=lambda error, delay_s: None,
        )


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (REFUSED, ProviderRefused, "asking: the target refused: HTTP 400: no; go home"),
        (CUT, ProviderUnreachable, "asking: no usable answer from the target: ServerDisconnectedError: gone; go home"),
    ],
)
def test_what_ends_patience_ends_the_stage(error: TargetError, kind: type[Exception], message: str) -> None:
    """One message says what was tried, what came, and what to do."""
    with pytest.raises(kind) as raised, final("asking", then="go home"):
        raise error
    assert str(raised.value) == message


class Thing:
    """A deed whose acts and looks are scripted and whose states are remembered."""

    def __init__(self, acts: list[TargetError | str], looks: list[TargetError | str]) -> None:
        self.clock = SkippingClock()
        self.states: list[Effect] = []
        self.said: list[str] = []
        self.deed = Deed(
            name="creating", act=script(*acts), look=script(*looks), keep=self.states.append, mend="run it again"
        )
        self.doer = Doer(
            clock=self.clock, say=self.said.append, patience=Patience(), looking=Looking(waits_s=(0.0, 5.0, 10.0))
        )

    def kinds(self) -> list[type[Effect]]:
        return [type(state) for state in self.states]


async def test_the_intent_is_durable_before_and_the_effect_after() -> None:
    """Begun, then done."""
    thing = Thing(["job-1"], [""])
    assert await thing.doer.do(thing.deed) == ("job-1", False)
    assert thing.kinds() == [Begun, Done]


async def test_a_lost_reply_is_looked_for_before_anything_is_repeated() -> None:
    """It had happened: it is found and not done again."""
    thing = Thing([CUT, "a second one"], ["job-1"])
    assert await thing.doer.do(thing.deed) == ("job-1", True)
    assert thing.kinds() == [Begun, Done]


async def test_a_list_that_lags_is_looked_at_again() -> None:
    """Found at the third look, after 15 seconds."""
    thing = Thing([CUT, "a second one"], ["", "", "job-1"])
    assert await thing.doer.do(thing.deed) == ("job-1", True)
    assert thing.clock.waits_s == [5.0, 10.0]


async def test_what_certainly_did_not_happen_is_done_again() -> None:
    """The list stays empty for as long as lists lag: once more, and that reply comes."""
    thing = Thing([CUT, "job-1"], [""])
    assert await thing.doer.do(thing.deed) == ("job-1", False)
    assert thing.kinds() == [Begun, Begun, Done]


async def test_it_stays_open_when_every_reply_is_lost() -> None:
    """Three times is enough; the record says that it may have happened."""
    thing = Thing([CUT], [""])
    with pytest.raises(ProviderUnreachable, match="creating: every reply was lost and the target lists no trace of it"):
        await thing.doer.do(thing.deed)
    assert thing.kinds() == [Begun, Begun, Begun]


async def test_a_refusal_is_recorded_with_its_message() -> None:
    """It did not happen, and will not."""
    thing = Thing([REFUSED], [""])
    with pytest.raises(ProviderRefused):
        await thing.doer.do(thing.deed)
    assert thing.states[-1] == Refused(at=thing.clock.wall(), message="HTTP 400: no")


async def test_a_target_that_stays_busy_leaves_nothing_open() -> None:
    """429 and no connection are not begun, however long they were tried."""
    for error in (BUSY, DOWN):
        thing = Thing([error], [""])
        with pytest.raises(ProviderUnreachable):
            await thing.doer.do(thing.deed)
        assert thing.kinds() == [Begun, NotBegun]


async def test_a_list_that_cannot_be_read_leaves_it_open() -> None:
    """Without the list nobody knows, so nothing is done again."""
    thing = Thing([CUT, "a second one"], [REFUSED])
    with pytest.raises(ProviderRefused, match="looking for it in the target's list"):
        await thing.doer.do(thing.deed)
    assert thing.kinds() == [Begun]


async def test_waiting_is_explained() -> None:
    """Each wait says what it is for."""
    thing = Thing([CUT], ["", "job-1"])
    await thing.doer.do(thing.deed)
    assert thing.said == [
        "creating: the reply was lost (ServerDisconnectedError: gone); looking whether it happened",
        "creating: not in the target's list yet, looking again in 5 s (look 2)",
    ]
