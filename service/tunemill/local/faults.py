"""What can go wrong on purpose, how likely each is, and the seeded draw that decides. Knows nothing of the wire.

Promises that a draw depends only on the number in [0, 1) that is handed in, so that who owns the randomness owns the
faults.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self


class Fault(Enum):
    """The closed list. What each one does on the wire, and whether the answer is billed, stands beside it."""

    RATE_LIMIT_RETRY_AFTER = "rate_limit_retry_after"  # 429 with Retry-After and retry-after-ms; not billed
    RATE_LIMIT_BARE = "rate_limit_bare"  # 429 without; not billed
    SERVER_ERROR = "server_error"  # 500, 502 or 503 as the API's own JSON error; not billed
    HTML_ERROR = "html_error"  # 502 with a gateway's HTML page; a seeded half was produced and billed
    HANG = "hang"  # no answer until the client goes; a seeded half is billed
    CUT_BEFORE = "cut_before"  # connection reset before the answer was produced; not billed
    CUT_AFTER = "cut_after"  # connection closed after the answer was produced; billed
    TRUNCATED_BODY = "truncated_body"  # status 200, half of the body, then closed; billed
    EMPTY_CHOICES = "empty_choices"  # status 200 with no choices; the input is billed
    REFUSAL = "refusal"  # status 200, the model declines; billed
    LENGTH = "length"  # status 200, cut off with finish_reason length; billed
    CONTENT_FILTER = "content_filter"  # status 200, nothing left of the text; billed
    MISSING_USAGE = "missing_usage"  # status 200 without usage; billed


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The probability of each fault. They exclude each other, so they sum to at most 1."""

    rates: Mapping[Fault, float]

    def __post_init__(self) -> None:
        if any(rate < 0 for rate in self.rates.values()):
            raise ValueError("a fault's rate is a probability, so at least 0")
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ValueError(f"the rates of all faults sum to {sum(self.rates.values()):g}, and must not exceed 1")

    @classmethod
    def parse(cls, settings: Sequence[str]) -> Self:
        """`["all=0.05", "hang=0"]`: later ones win; `all` sets every kind. Raises ValueError naming what is wrong."""
        rates: dict[Fault, float] = {}
        for setting in settings:
            kind, separator, rate = setting.partition("=")
            if not separator:
                raise ValueError(f"{setting!r} is not KIND=RATE, as in hang=0.05")
            rates.update(dict.fromkeys(_kinds(kind), _probability(rate)))
        return cls({kind: rate for kind, rate in rates.items() if rate > 0})

    def draw(self, chance: float) -> Fault | None:
        """The fault that `chance` (in [0, 1)) falls on; None where the request is spared."""
        for kind, rate in self.rates.items():
            if chance < rate:
                return kind
            chance -= rate
        return None


NO_FAULTS = FaultRates({})


def _kinds(name: str) -> Sequence[Fault]:
    if name == "all":
        return tuple(Fault)
    try:
        return (Fault(name),)
    except ValueError:
        known = ", ".join(kind.value for kind in Fault)
        raise ValueError(f"{name!r} is no fault; there are: all, {known}") from None


def _probability(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a probability, a number from 0 to 1") from None
    if not 0 <= rate <= 1:
        raise ValueError(f"{text} is not a probability, a number from 0 to 1")
    return rate
