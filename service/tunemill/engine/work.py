"""What moves through the engine, and the three things that it asks of the world outside."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from tunemill.engine.passage import Passage
from tunemill.engine.size import Size
from tunemill.frozen import quickly_made
from tunemill.model import (
    Completion,
    Delivered,
    Failure,
    FailureKind,
    Lane,
    Picodollars,
    Reply,
    Request,
    Row,
    RunState,
    Usage,
)

Executor: TypeAlias = Callable[[Request, float], Awaitable[Reply]]  # one attempt, at most so many seconds long


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer is wanted: a row, a step (by number) and a sample, with the texts of the earlier steps."""

    row: Row
    step: int
    sample: int
    texts: Mapping[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A request on its way to being answered, and the places that its answer serves."""

    request: Request
    places: list[Place]
    worst: Picodollars
    size: Size  # by which the gates tell what the provider will count when it admits the request
    attempts: int = 0  # all sendings, over restarts
    failures: int = 0  # failed attempts that count against attempts_max, in this process
    failures_in_row: int = 0  # those of the circuit's row of failures with the number `failed_row`
    failed_row: int = 0
    refusals: int = 0  # 429s, in this process
    is_reserved: bool = False
    is_in_flight: bool = False
    ticket: int = 0  # its number among all that left for its model
    troubled_since: float | None = None
    passage: Passage | None = None  # of the attempt that is under way


class Standing(Enum):
    """What the journal says of a request."""

    NEW = "new"
    ANSWERED = "answered"
    KEPT = "kept"  # the place has an answer to another request, which is to be kept
    SET_ASIDE = "set aside"


class Recorder(Protocol):
    """The journal as the engine sees it. Every coroutine returns when its line is durable and counted."""

    def row(self, position: int, row: Row) -> bool:
        """Note which row is at a position (duplicates not counted); False where it was at an earlier one already."""

    def source_ended(self, rows: int) -> None:
        """The source has so many rows."""

    def look_up(self, place: Place, request: Request) -> tuple[Standing, int]:
        """Whether the place needs this request to be sent, and how often it was."""

    def serve(self, place: Place, request: Request) -> None:
        """The place is served by this request, which was or will be sent for another place or at another time."""

    def answer_at(self, place: Place) -> Completion:
        """The completion that serves a place, read back."""

    async def sent(self, request: Request, attempt: int, reserved: Picodollars) -> None: ...

    async def completed(
        self,
        request: Request,
        attempt: int,
        reply: Delivered,
        cost: Picodollars,
        duration_s: float,
    ) -> None: ...

    async def attempt_failed(
        self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars
    ) -> None: ...

    async def failed(self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars) -> None: ...

    def set_aside(self, place: Place, kind: FailureKind, message: str) -> str | None:
        """Nothing can be sent for this place: it is failed for good. Gives the id under which it is recorded, or None
        where that was recorded before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrenderable:
    """The template cannot be filled in for this place."""

    message: str


Renderer: TypeAlias = Callable[[Place], Request | Unrenderable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as the engine knows it: a name, how many answers to each earlier one, and where it is sent."""

    name: str
    samples: int
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the engine came to stop: a state and the sentence for it."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What requests cost: the worst case before sending, and the price of an answer's usage."""

    worst: Callable[[Request], Picodollars]
    cost: Callable[[Lane, Usage], Picodollars]


@dataclass(slots=True, kw_only=True)
class Counts:
    """Places by what became of them. planned = completed + failed + waiting + in flight, at every moment."""

    planned: int = 0
    completed: int = 0
    failed: int = 0
    in_flight: int = 0
    duplicate_rows: int = 0
    completed_by_step: dict[str, int] = field(default_factory=dict)
    failed_by_step: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return self.planned - self.completed - self.failed - self.in_flight
