"""The server's own books: what was received, billed and delivered. Exact whole numbers; modest memory for many bodies.

A body is known by a 16-byte digest, so that a hundred thousand of them take some megabytes. The books know nothing of
the wire and take the time as a parameter. Dollars are whole picodollars (1e-12 USD).
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import TypedDict

from tunemill.local.prices import PICODOLLARS_PER_USD, Price


class BodyCount(TypedDict):
    """One line of `/books/requests`: a body by its digest, and what became of it."""

    digest: str
    received: int
    billed: int
    delivered: int


class BodyCounts:
    """How often each distinct body was received, drawn for, billed and delivered."""

    __slots__ = ("_billed", "_delivered", "_drawn", "_index", "_received")

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}
        self._received = array("L")
        self._drawn = array("L")
        self._billed = array("L")
        self._delivered = array("L")

    def receive(self, digest: bytes) -> int:
        """Count a reception; returns the body's number, by which the other methods know it."""
        number = self._index.setdefault(digest, len(self._received))
        if number == len(self._received):
            for counts in (self._received, self._drawn, self._billed, self._delivered):
                counts.append(0)
        self._received[number] += 1
        return number

    def draw(self, number: int) -> int:
        """Count a draw of chance for this body; returns how many there were before."""
        self._drawn[number] += 1
        return self._drawn[number] - 1

    def bill(self, number: int) -> int:
        """Count a billed answer; returns how many there were before."""
        self._billed[number] += 1
        return self._billed[number] - 1

    def deliver(self, number: int) -> None:
        """Count an answer that was written completely."""
        self._delivered[number] += 1

    def __iter__(self) -> Iterator[BodyCount]:
        for digest, number in list(self._index.items()):
            yield BodyCount(
                digest=digest.hex(),
                received=self._received[number],
                billed=self._billed[number],
                delivered=self._delivered[number],
            )


class Books:
    """Totals, counted where things happen; `totals` is the one shape in which they are read.

    received = admitted + rate_limited by the limits + turned away for another reason (bad key, unknown model, quota,
    bad request, refusing, abandoned while paused). delivered counts answers (status 200) that were written completely.
    """

    def __init__(self) -> None:
        self.bodies = BodyCounts()
        self.received = 0
        self.admitted = 0
        self.tokens_counted = 0  # by the limiter, of what it admitted, less what it gave back
        self.rate_limited = 0
        self.billed = 0
        self.billed_again = 0
        self.delivered = 0
        self.unpriced = 0
        self.picodollars = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.uploads = 0
        self.jobs_created = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.arrivals = array("L")  # by whole second since the first
        self.failed: Counter[str] = Counter()
        self.status: Counter[str] = Counter()

    def arrive(self, digest: bytes, at: float) -> int:
        """A completion request came in at `at` (seconds since 1970); returns the body's number."""
        self.received += 1
        self.first_at = at if self.first_at is None else self.first_at
        self.last_at = at
        self._arrive_in(int(at - self.first_at))
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        return self.bodies.receive(digest)

    def _arrive_in(self, second: int) -> None:
        if second >= len(self.arrivals):
            self.arrivals.extend(0 for _ in range(second + 1 - len(self.arrivals)))
        self.arrivals[second] += 1  # a clock that was set back counts in one of the last seconds

    def admit(self, tokens: int) -> None:
        """The limits let it in, and counted it as so many tokens."""
        self.admitted += 1
        self.tokens_counted += tokens

    def give_back(self, tokens: int) -> None:
        """So many of them were not used."""
        self.tokens_counted -= tokens

    def leave(self) -> None:
        """The request that came in is dealt with, whatever became of it."""
        self.in_flight -= 1

    def fail(self, kind: str) -> None:
        """The request did not get the answer it asked for, because of `kind`."""
        self.failed[kind] += 1

    def bill(self, number: int, price: Price | None, input_tokens: int, output_tokens: int) -> None:
        """An answer was produced and is paid for; a model without a price counts as unpriced and as no dollars."""
        self.billed += 1
        self.billed_again += self.bodies.bill(number) > 0
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        if price is None:
            self.unpriced += 1
        else:
            self.picodollars += price.of(input_tokens, output_tokens)

    def deliver(self, number: int) -> None:
        """An answer was written completely to a client that was still there."""
        self.delivered += 1
        self.bodies.deliver(number)

    def totals(self) -> dict[str, object]:
        """The figures as `GET /books` shows them."""
        return {
            "received": self.received,
            "admitted": self.admitted,
            "tokens_counted": self.tokens_counted,
            "rate_limited": self.rate_limited,
            "billed": self.billed,
            "delivered": self.delivered,
            "failed_by_kind": dict(self.failed),
            "usd_billed": self.picodollars / PICODOLLARS_PER_USD,
            "picodollars_billed": self.picodollars,
            "unpriced": self.unpriced,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "billed_twice": self.billed_again,
            "distinct_bodies_billed": self.billed - self.billed_again,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "uploads": self.uploads,
            "jobs_created": self.jobs_created,
            "by_status": dict(self.status),
        }
