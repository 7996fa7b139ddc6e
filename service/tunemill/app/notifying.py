"""Tells outside how a run gets on and how it ends, through the webhook of `[notify]`, without being in its way.

Messages wait in a queue and leave in order, one after the other, each with some patience. At the end of the run, what
is still waiting has a second, and how the run ended has a few seconds more; what could not be delivered is logged.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tunemill.app.told import Told
from tunemill.clock import Clock, wait_for
from tunemill.errors import (
    ExecutorsFailed,
    FineTuningFailed,
    ProviderRefused,
    ProviderUnreachable,
    RunFolderUnwritable,
    UserError,
)
from tunemill.recipe import Recipe
from tunemill.settings import Webhook, webhook_of
from tunemill.statistics import RunStatistics
from tunemill.telemetry import run_logger
from tunemill.telemetry.notices import (
    GoingAgain,
    Notice,
    Stalled,
    StallWatch,
    ending_notice,
    going_again_notice,
    stalled_notice,
    started_notice,
)

if TYPE_CHECKING:  # loaded where something is to be told
    from tunemill.client.webhook import Patience

_Pause: TypeAlias = Callable[[float], Awaitable[None]]

QUEUE_MAX = 16
OLDER_S = 1.0  # for what is still waiting when the run has ended
ENDING_S = 4.0  # for how it ended
LOOKS_MIN_S, LOOKS_MAX_S = 0.05, 15.0
LOOKS = 20  # within the time after which it counts as stalled
STALLED_AFTER_S = 600.0
_ERRORS: Mapping[type[BaseException], str] = {
    RunFolderUnwritable: "the run folder can no longer be written",
    FineTuningFailed: "the fine-tuning job failed",
    ProviderRefused: "the provider refuses to go on",
    ProviderUnreachable: "the provider cannot be reached",
    ExecutorsFailed: "the processes that send cannot be kept running",
    UserError: "a mistake in the recipe, in its files, or in the run folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """Whom to tell of what."""

    webhook: Webhook
    on: frozenset[str]
    stalled_after_s: float


def notifying_by(recipe: Recipe, environment: Mapping[str, str], *, is_rehearsal: bool) -> Notifying | None:
    """What the recipe says of it; None where it says nothing.

    Raises ArgumentError where the variable is not set: whoever wrote [notify] relies on it. A rehearsal needs it no
    more than a key, and then tells nobody.
    """
    section = recipe.notify
    if section is None or (is_rehearsal and not environment.get(section.webhook_env, "").strip()):
        return None
    return Notifying(
        webhook=webhook_of(section, environment), on=frozenset(section.on), stalled_after_s=stalled_after_s(recipe)
    )


def stalled_after_s(recipe: Recipe) -> float:
    """As the recipe says; else ten minutes, or as long as one answer may take, whichever is longer."""
    section = recipe.notify
    if section is not None and section.stalled_after_s is not None:
        return section.stalled_after_s
    return max(STALLED_AFTER_S, recipe.limits.timeout_s)


@contextlib.asynccontextmanager
async def notifying(
    how: Notifying | None, folder: Path, statistics: Callable[[], RunStatistics], clock: Clock
) -> AsyncIterator[None]:
    """Tell while the context is open, and how it was left."""
    if how is None:
        yield
        return
    teller = _Teller(how, folder, statistics, clock)
    teller.tell_started()
    sending, watching = asyncio.create_task(teller.send()), asyncio.create_task(teller.watch())
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
        raise
    finally:
        await _stopped(watching, teller)
        await teller.finish_older()
        await _stopped(sending, teller)
        await teller.tell_ending(error)


async def _stopped(task: "asyncio.Task[None]", teller: "_Teller") -> None:
    """Stop it. A bug of ours in telling is told, and ends no run."""
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        teller.broke(result)


class _Teller:
    """The queue, and what is done with it."""

    def __init__(self, how: Notifying, folder: Path, statistics: Callable[[], RunStatistics], clock: Clock) -> None:
        self._how = how
        self._statistics = statistics
        self._clock = clock
        self._told = Told(folder)
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(QUEUE_MAX)
        self._hurry = asyncio.Event()
        self._is_over = False  # the run
        self._logger = run_logger(statistics().run)
        self._began_s = clock.monotonic()
        self._is_stall_told = False

    def tell_started(self) -> None:
        """A process begins to work on it."""
        self._put(started_notice(self._statistics()))

    async def watch(self) -> None:
        """Look whether it gets on, for as long as nobody stops it."""
        watch = StallWatch(self._how.stalled_after_s, self._clock.monotonic())
        while True:
            statistics = self._statistics()
            match watch.look(statistics, self._clock.monotonic()):
                case Stalled(for_s):
                    self._is_stall_told = self._put(stalled_notice(statistics, for_s=for_s))
                case GoingAgain(after_s) if self._is_stall_told:
                    self._is_stall_told = False
                    self._queue(going_again_notice(statistics, after_s=after_s))
                case _:
                    pass
            await self._clock.sleep(min(LOOKS_MAX_S, max(LOOKS_MIN_S, self._how.stalled_after_s / LOOKS)))

    async def send(self) -> None:
        """Deliver what waits, one after the other."""
        from tunemill.client.webhook import Patience

        while True:
            notice = await self._waiting.get()
            await self._deliver(notice, Patience())
            self._waiting.task_done()

    async def finish_older(self) -> None:
        """The run has ended: what still waits is sent at once, or not any more."""
        self._is_over = True
        self._hurry.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OLDER_S):
                await self._waiting.join()
                return
        self._logger.warning("notification_failed", message="it had not left when the run ended")

    async def tell_ending(self, error: Exception | None) -> None:
        """How the run ended."""
        from tunemill.client.webhook import Patience

        because = "" if error is None else next((said for kind, said in _ERRORS.items() if isinstance(error, kind)), "")
        if error is not None and not because:
            because = "an error in tunemill"
        duration_s = self._clock.monotonic() - self._began_s
        notice = ending_notice(self._statistics(), duration_s=duration_s, error=because)
        if self._is_to_be_told(notice):
            # The last pause is the one that leaves an attempt some time.
            patience = Patience(first_s=0.5, attempt_s=ENDING_S - 1.0, total_s=ENDING_S - 1.0)
            try:
                async with asyncio.timeout(ENDING_S):
                    await self._deliver(notice, patience, pause=self._clock.sleep)
            except TimeoutError:
                self._failed(notice, "there was no answer in time")

    def broke(self, error: Exception) -> None:
        """Telling itself does not work."""
        self._logger.error("notification_failed", message="an error in tunemill", exc_info=error)

    def _put(self, notice: Notice) -> bool:
        return self._is_to_be_told(notice) and self._queue(notice)

    def _is_to_be_told(self, notice: Notice) -> bool:
        if notice.kind not in self._how.on:
            return False
        is_news = self._told.is_news(notice, settled=self._settled(), at=self._clock.wall())
        if not is_news:
            self._logger.info("notification_withheld", kind=notice.kind, message="the same was told before")
        return is_news

    def _queue(self, notice: Notice) -> bool:
        try:
            self._waiting.put_nowait(notice)
        except asyncio.QueueFull:
            self._failed(notice, "too many wait already")
            return False
        return True

    async def _deliver(self, notice: Notice, patience: "Patience", pause: "_Pause | None" = None) -> None:
        from tunemill.client.webhook import Posted, post

        settled = self._settled()
        outcome = await post(
            self._how.webhook.url, notice.to_json(), patience=patience, clock=self._clock, pause=pause or self._pause
        )
        if isinstance(outcome, Posted):
            self._told.remember(notice, settled=settled, at=self._clock.wall())
            self._logger.info("notification_sent", kind=notice.kind, attempts=outcome.attempts)
        else:
            self._failed(notice, outcome.problem)

    async def _pause(self, seconds: float) -> None:
        """Between two attempts: as long as that, or until the run ends, which is answered by one attempt at once."""
        if self._is_over:
            await self._clock.sleep(seconds)
        else:
            await wait_for(self._hurry, self._clock, seconds)

    def _failed(self, notice: Notice, problem: str) -> None:
        self._logger.warning("notification_failed", kind=notice.kind, message=problem)

    def _settled(self) -> int:
        counts = self._statistics().requests
        return counts.completed + counts.failed
