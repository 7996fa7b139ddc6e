"""How long a call to the target is tried again, and when: tenacity decides, the given clock waits.

Only failures that leave nothing open are repeated here: for a read all that are not a refusal, for a side effect those
that are known to have had none.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import tenacity

from tunemill.client.fine_tuning_values import (
    TargetBusy,
    TargetError,
    TargetRefused,
    TargetUncertain,
    TargetUnreachable,
)
from tunemill.clock import Clock
from tunemill.errors import ProviderRefused, ProviderUnreachable

T = TypeVar("T")
Told: TypeAlias = Callable[[TargetError, float], None]

FOR_READS: tuple[type[TargetError], ...] = (TargetBusy, TargetUnreachable, TargetUncertain)
FOR_SIDE_EFFECTS: tuple[type[TargetError], ...] = (TargetBusy, TargetUnreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waits that double from `first_s` to `longest_s`; what a target asks for is honoured up to `asked_max_s`.

    No wait begins that would bring the seconds waited above `total_s`.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    asked_max_s: float = 600.0
    total_s: float = 1800.0

    def delay_s(self, error: BaseException | None, attempt: int) -> float:
        """Seconds to wait after the attempt of that number, counted from 1."""
        backoff = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30))
        asked = error.retry_after_s if isinstance(error, TargetBusy) else None
        return backoff if asked is None else max(self.first_s, min(asked, self.asked_max_s))


async def patiently(
    call: Callable[[], Awaitable[T]],
    *,
    patience: Patience,
    repeat: tuple[type[TargetError], ...],
    clock: Clock,
    told: Told,
) -> T:
    """Call until it answers, raises something that must not be repeated, or patience ends (then its last error).

    `told` hears of each failure that is repeated and of the seconds before the next try.
    """

    async def attempt() -> T:
        # tenacity awaits only what is declared async, which a lambda is not.
        return await call()

    def delay(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return patience.delay_s(error, state.attempt_number)

    def is_over(state: tenacity.RetryCallState) -> bool:
        return state.idle_for + state.upcoming_sleep > patience.total_s

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TargetError):
            told(error, state.upcoming_sleep)

    retrying = tenacity.AsyncRetrying(
        sleep=clock.sleep,
        wait=delay,
        stop=is_over,
        retry=tenacity.retry_if_exception_type(repeat),
        before_sleep=tell,
        reraise=True,
    )
    return await retrying(attempt)


@contextlib.contextmanager
def final(what: str, *, then: str) -> Iterator[None]:
    """What ends patience ends the stage: `what` was tried, and `then` is what a person can do."""
    try:
        yield
    except TargetRefused as refusal:
        raise ProviderRefused(f"{what}: the target refused: {refusal}; {then}") from refusal
    except TargetError as error:
        raise ProviderUnreachable(f"{what}: no usable answer from the target: {error}; {then}") from error
