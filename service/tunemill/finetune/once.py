"""Does a thing at the target exactly once, although replies get lost and processes die.

The thing is anything that can be done (an upload, a job) and looked for in a list. What is durable before and after is
the caller's `keep`. Knows nothing of files, jobs or the record.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tunemill.client.fine_tuning_values import (
    TargetBusy,
    TargetError,
    TargetRefused,
    TargetUncertain,
    TargetUnreachable,
)
from tunemill.clock import Clock
from tunemill.errors import ProviderUnreachable
from tunemill.finetune.patience import FOR_READS, FOR_SIDE_EFFECTS, Patience, final, patiently
from tunemill.finetune.record import Begun, Done, Effect, NotBegun, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Seconds before each look at a target's list, because lists lag; and how often a lost thing is done anew."""

    waits_s: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    attempts_max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """`act` does it and `look` finds it, both as the target's id ("" is not found); `keep` makes a state durable."""

    name: str
    act: Callable[[], Awaitable[str]]
    look: Callable[[], Awaitable[str]]
    keep: Callable[[Effect], None]
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doer:
    """How deeds are done here. `say` tells a person, in one sentence, what is going on."""

    clock: Clock
    say: Callable[[str], None]
    patience: Patience
    looking: Looking

    async def do(self, deed: Deed) -> tuple[str, bool]:
        """Do it, and look for it whenever the reply is lost. Returns the id and whether it was found, not made.

        Raises `ProviderRefused` where the target said no and `ProviderUnreachable` where it stays open or untried.
        """
        for _ in range(self.looking.attempts_max):
            deed.keep(Begun(at=self.clock.wall()))
            made = await self._act(deed)
            if made:
                return self._done(deed, made), False
            found = await self.look_long(deed)
            if found:
                return self._done(deed, found), True
        raise ProviderUnreachable(f"{deed.name}: every reply was lost and the target lists no trace of it; {deed.mend}")

    async def look_long(self, deed: Deed) -> str:
        """Look for something that may have happened until a list that lags would show it; "" if it did not happen."""
        for number, wait_s in enumerate(self.looking.waits_s, start=1):
            if wait_s:
                self.say(f"{deed.name}: not in the target's list yet, looking again in {wait_s:g} s (look {number})")
                await self.clock.sleep(wait_s)
            found = await self.look_once(deed)
            if found:
                return found
        return ""

    async def look_once(self, deed: Deed) -> str:
        """One look at the target's list."""
        with final(f"{deed.name}: looking for it in the target's list", then=deed.mend):
            return await patiently(
                deed.look,
                patience=self.patience,
                repeat=FOR_READS,
                clock=self.clock,
                told=lambda error, delay_s: self._told(deed, error, delay_s),
            )

    async def _act(self, deed: Deed) -> str:
        """Do it once. "" says that it may have happened; what certainly had no effect is tried again in here."""
        with final(deed.name, then=deed.mend):
            try:
                return await patiently(
                    deed.act,
                    patience=self.patience,
                    repeat=FOR_SIDE_EFFECTS,
                    clock=self.clock,
                    told=lambda error, delay_s: self._told(deed, error, delay_s),
                )
            except TargetUncertain as lost:
                self.say(f"{deed.name}: the reply was lost ({lost}); looking whether it happened")
                return ""
            except TargetRefused as refusal:
                deed.keep(Refused(at=self.clock.wall(), message=str(refusal)))
                raise
            except (TargetBusy, TargetUnreachable):
                deed.keep(NotBegun())
                raise

    def _done(self, deed: Deed, identifier: str) -> str:
        deed.keep(Done(at=self.clock.wall(), id=identifier))
        return identifier

    def _told(self, deed: Deed, error: TargetError, delay_s: float) -> None:
        self.say(f"{deed.name}: {error}; trying again in {delay_s:g} s")
