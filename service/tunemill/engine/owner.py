"""What the dispatcher and its lanes are to each other: what a lane asks and tells, and what all lanes share."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeAlias

from tunemill.clock import Clock
from tunemill.engine.budget import Budget
from tunemill.engine.retry import RetryLimits
from tunemill.engine.work import Job, Prices, Recorder
from tunemill.events import Event
from tunemill.model import Completion, Failure

Attempt: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class Owner(Protocol):
    """What a lane asks and tells the dispatcher."""

    def is_ending(self) -> bool: ...

    def is_paused(self) -> bool: ...

    def spawn(self, attempt: Attempt) -> None: ...

    def landed(self) -> None: ...

    def answered(self, job: Job, completion: Completion) -> None: ...

    def gave_up(self, job: Job, failure: Failure) -> None: ...

    def freed(self) -> None: ...

    def shelved(self) -> None: ...

    def refused(self, message: str) -> None: ...


def _nothing() -> None:
    """Whatever sends is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every lane of a run shares. `before_first` is called before the first request is put in line."""

    budget: Budget
    prices: Prices
    recorder: Recorder
    retry: RetryLimits
    clock: Clock
    random: Random
    emit: Callable[[Event], None]
    before_first: Callable[[], None] = _nothing
