"""What the journal's lines say: a type for each kind. Their bytes are made and read by `codec`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from tunemill.frozen import quickly_made
from tunemill.model import FailureKind, JsonObject, Picodollars, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A process began to write. The source had `rows` rows when it was counted, each with `places` answers to come.

    `inputs` is a fingerprint of all that decides which requests there are; "" where its walk goes other ways.
    """

    at: float
    run: str
    version: str
    rows: int
    places: int
    simulated: bool
    inputs: str = ""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class RowSeen:
    """Position `position` of the source is row `row`; `fields` only the first time the row is seen."""

    position: int
    row: str
    fields: JsonObject | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEnded:
    """The source was walked to its end (or to the pilot's limit): it has so many rows now."""

    rows: int


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An attempt is about to leave; `reserved` is its worst case. `body` only at the first attempt, and not decoded.

    `parent` is the key (16 digits) of the request that serves the place above, whose text this one reads; "" for the
    first step.
    """

    at: float
    request: str
    row: str
    step: str
    sample: int
    attempt: int
    reserved: Picodollars
    path: str
    body: orjson.Fragment | None
    parent: str = ""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The raw answer, as it came (None where the line was decoded without its payload), and what it cost."""

    at: float
    request: str
    row: str
    step: str
    sample: int
    attempt: int
    cost: Picodollars
    outcome: str
    usage: Usage | None
    duration_s: float
    provider_request_id: str | None
    answer: orjson.Fragment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unanswered:
    """What both kinds of failure say. `uncertain` is what may have been billed."""

    at: float
    request: str
    row: str
    step: str
    sample: int
    attempt: int
    failure: FailureKind
    status: int | None
    message: str
    uncertain: Picodollars


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(_Unanswered):
    """An attempt brought no completion; the request may be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Unanswered):
    """A request failed for good. This is also the outcome of its last `attempt`; 0: nothing was ever sent."""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """This place (row, step, sample) is now served by `request`, which was answered already. `parent` as in `Sent`."""

    row: str
    step: str
    sample: int
    request: str
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process stopped writing on purpose; `state` is a RunState value.

    Where every row was seen through to a completion or a failure, `inputs` is a fingerprint of all that decided the
    requests and `rows` is how many rows the source had, copies included; else "" and 0.
    """

    at: float
    state: str
    reason: str
    inputs: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """How far the process had come that wrote the `lines` lines before this one. `walk` says it to whoever has the same
    `inputs`; see `mark`."""

    inputs: str
    walk: Mapping[str, Any]
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """Damaged pieces of the journal were set aside; `uncertain` is what may have been billed and only they told."""

    at: float
    uncertain: Picodollars
    pieces: Sequence[str]


Line: TypeAlias = (
    Opened | RowSeen | SourceEnded | Sent | Completed | AttemptFailed | Failed | Reused | Ended | Marked | Repaired
)
