"""The words of tunemill as values: rows, requests, what comes back, what it cost. They know nothing and do nothing.

Dollars are counted as whole **picodollars** (1e-12 USD, `Picodollars`): every published price per million tokens is a
whole number of them per token, so sums are exact. Floats appear only where dollars are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tunemill.frozen import quickly_made

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
JsonObject: TypeAlias = Mapping[str, Json]
Picodollars: TypeAlias = int

PICODOLLARS_PER_USD = 10**12


def usd(amount: Picodollars) -> float:
    """Picodollars as dollars, for showing. Exact up to about a thousand dollars, then to 15 digits."""
    return amount / PICODOLLARS_PER_USD


def picodollars(dollars: float) -> Picodollars:
    """Dollars (from a recipe, a flag or a journal line) as whole picodollars."""
    return round(dollars * PICODOLLARS_PER_USD)


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record from the source. `id` is 32 hex digits of a hash of `fields`."""

    id: str
    fields: JsonObject


@dataclass(frozen=True, slots=True)
class Lane:
    """One model at one provider: what limits are kept for. `provider` is "" for the recipe's `[provider]`."""

    provider: str
    model: str


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One rendered completion call.

    `id` is 32 hex digits of a hash of `path`, `body` and `sample`. `body` is the exact bytes that are sent (canonical
    JSON). The two token figures are upper bounds: of what the provider may bill as input, and of what the body allows
    as output (None where the body does not bound it, which a budget does not permit).
    """

    id: str
    row_id: str
    step: str
    sample: int
    lane: Lane
    path: str
    body: bytes
    input_tokens_max: int
    output_tokens_max: int | None


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider billed them. `input` includes `cached_input`; `output` includes `reasoning`."""

    input: int
    output: int
    cached_input: int = 0
    reasoning: int = 0


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A provider's answer, parsed. An empty, refused or cut-off answer is a completion too: it was paid for.

    `finish_reason` is as the provider said it ("stop", "length", "content_filter", "tool_calls"), or "missing" where
    it sent no choice or no reason. `text` is "" where there is none. `usage` is None where the provider sent none.
    """

    text: str
    finish_reason: str
    refusal: str | None = None
    tool_calls: Sequence[Json] = ()
    usage: Usage | None = None
    model: str | None = None
    provider_request_id: str | None = None


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What may become one training example: a row with one answer of every step (none in a recipe without steps).

    `position` is the row's place in the source, counted from 0; `sample` is the last step's sample index. The answers
    come without their usage: they were paid long ago.
    """

    position: int
    row: Row
    sample: int
    answers: Mapping[str, Completion]

    @property
    def last(self) -> Completion:
        """The answer of the last step, where there are steps."""
        return [*self.answers.values()][-1]


class FailureKind(Enum):
    """Why an attempt brought no completion. The one closed list: journal, metrics, logs and retry decisions use it."""

    RATE_LIMITED = "rate_limited"  # 429: slow down
    OVERLOADED = "overloaded"  # 503 or 529 as the provider's own JSON error
    SERVER_ERROR = "server_error"  # any other 5xx as the provider's own JSON error
    GATEWAY_ERROR = "gateway_error"  # an error page that is not the provider's own: the answer may have been billed
    TIMEOUT = "timeout"  # our deadline for one attempt passed
    NOT_CONNECTED = "not_connected"  # no connection was made: nothing was sent
    DISCONNECTED = "disconnected"  # the connection broke after sending
    BAD_REPLY = "bad_reply"  # status 200 with a body that is not a completion
    BAD_REQUEST = "bad_request"  # 400, 413, 422, ...: this request will never work
    BAD_KEY = "bad_key"  # 401, 403
    QUOTA_EXHAUSTED = "quota_exhausted"  # 429 with insufficient_quota, 402
    MODEL_UNKNOWN = "model_unknown"  # 404: model or address is not there
    INTERRUPTED = "interrupted"  # we stopped, or died, before the answer came
    TOO_LARGE = "too_large"  # it can never fit the budget or the token limit
    UPSTREAM_FAILED = "upstream_failed"  # the step that it reads has no usable text


class LimitedBy(Enum):
    """Which limit a refusal (429) names."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that brought no completion.

    `may_be_billed` is True where the provider may have done the work without our seeing the answer; `retry_after_s` is
    what the provider asked for; `limited_by` is the limit that a 429 names, None where it names none. `message` carries
    no key and no prompt.
    """

    kind: FailureKind
    message: str
    may_be_billed: bool
    status: int | None = None
    retry_after_s: float | None = None
    limited_by: LimitedBy | None = None


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitHints:
    """What a reply's headers said about limits; None where they said nothing usable (absent, -1, 0, garbage)."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_remaining: int | None = None
    tokens_remaining: int | None = None


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A completion: its raw body as it came over the wire, valid JSON, our reading of it, and what the headers said."""

    body: bytes
    hints: LimitHints
    completion: Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """No completion, with the reason and what the headers said."""

    failure: Failure
    hints: LimitHints


Reply: TypeAlias = Delivered | Undelivered


class RunState(Enum):
    """What a run is doing, or how it ended."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    INTERRUPTED = "interrupted"
    BUDGET_REACHED = "budget_reached"
    FINISHED = "finished"
    FINISHED_WITH_FAILURES = "finished_with_failures"
    REFUSED = "refused"
    FAILED = "failed"


class WaitReason(Enum):
    """Why work that is ready does not leave. The one closed list for screen, logs, status and metrics."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    CONCURRENCY = "concurrency"
    RETRY_AFTER = "retry_after"  # the provider said when
    BACKOFF = "backoff"  # we decided when
    BUDGET = "budget"  # until what is in flight is settled
    OUTAGE = "outage"  # the circuit is open
    UPSTREAM = "upstream"  # for the step that it reads
    PAUSED = "paused"  # until somebody says go on
    QUEUE = "queue"  # simply not its turn yet
