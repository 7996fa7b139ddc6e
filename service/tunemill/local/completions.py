"""The life of one completion request, in the order in which it happens:

    received -> key? -> paused? refusing? -> parsed -> model? -> quota? -> limits? -> fault drawn
                                                                             |
             delivered <- written <- (spoiled by the fault) <- billed <- produced

Every arrow is booked. What is drawn depends on the body and on how often it was drawn for, so that a retry gets
another draw. An answer is billed when it is produced, whether or not anybody is still there to take it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tunemill.local import replies
from tunemill.local.answers import Answer, afflict, payload
from tunemill.local.backend import Backend
from tunemill.local.books import Books
from tunemill.local.calls import Call, Endpoint, parse
from tunemill.local.chance import Chance, ChanceSource
from tunemill.local.controls import Controls
from tunemill.local.faults import Fault
from tunemill.local.limits import Denied, duration
from tunemill.local.models import Models
from tunemill.local.prices import PICODOLLARS_PER_USD, PriceTable
from tunemill.local.replies import Headers, Reply
from tunemill.local.wire import Wire

_UNANSWERED = (Fault.CUT_BEFORE, Fault.RATE_LIMIT_BARE, Fault.RATE_LIMIT_RETRY_AFTER, Fault.SERVER_ERROR)
_RETRY_AFTER_S = (0.2, 2.0)  # what an injected 429 asks for lies between


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request on its way: what was received, whose books it is in, and its luck."""

    call: Call
    wire: Wire
    books: Books
    number: int
    digest: bytes
    draw: Chance
    headers: Headers
    counted: int  # tokens, by the limiter


class Completions:
    """Answers completion requests. Times come from `monotonic` (limits) and `wall` (books), both in seconds."""

    def __init__(
        self,
        *,
        backend: Backend,
        controls: Controls,
        models: Models,
        prices: PriceTable,
        chances: ChanceSource,
        api_key: str | None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.backend = backend
        self.controls = controls
        self.models = models
        self.prices = prices
        self.chances = chances
        self.books = Books()
        self._authorization = None if api_key is None else b"Bearer " + api_key.encode()
        self._monotonic = monotonic
        self._wall = wall

    def read_books(self, *, timed: bool) -> dict[str, object]:
        """The totals; `timed` adds `at`, when they were read, so that two readings give a rate."""
        return {**self.books.totals(), **({"at": self._wall()} if timed else {})}

    def authorized(self, headers: Headers) -> bool:
        """Whether the request carries the key, where one is asked for."""
        return self._authorization is None or (b"authorization", self._authorization) in headers

    async def answer(self, endpoint: Endpoint, wire: Wire) -> None:
        """Take one request from its first byte to the last of its reply."""
        body = await wire.body()
        if body is None:
            return
        books = self.books
        digest = self.chances.digest(endpoint.value, body)
        number = books.arrive(digest, self._wall())
        try:
            await self._answer(endpoint, wire, body, books, digest, number)
        finally:
            books.leave()

    async def _answer(
        self, endpoint: Endpoint, wire: Wire, body: bytes, books: Books, digest: bytes, number: int
    ) -> None:
        if not await passed_pause(self.controls, wire):
            books.fail("paused")
            return
        call = self._check(endpoint, wire, body, books)
        if isinstance(call, Reply):
            await self._turn_away(call, wire, books)
            return
        limiter = self.controls.limiter(call.model, self._monotonic())
        admission = self.controls.settings.admission
        counted = admission.tokens(call)
        denied = limiter.admit(counted, self._monotonic())
        headers = limiter.headers() if admission.announced else ()
        if denied is not None:
            books.rate_limited += 1
            await self._turn_away(limit_reply(call.model, denied).plus(headers), wire, books)
            return
        books.admit(counted)
        draw = self.chances.of_draw(digest, books.bodies.draw(number))
        request_id = (b"x-request-id", b"req_" + draw.seed[-24:].hex().encode())
        case = Case(
            call=call,
            wire=wire,
            books=books,
            number=number,
            digest=digest,
            draw=draw,
            headers=(*headers, request_id),
            counted=counted,
        )
        await self._serve(case, self.controls.settings.faults.draw(draw.number(b"fault")))

    def _check(self, endpoint: Endpoint, wire: Wire, body: bytes, books: Books) -> Call | Reply:
        if not self.authorized(wire.scope["headers"]):
            return replies.bad_key()
        settings = self.controls.settings
        if settings.refusing:
            return replies.refusing()
        call = parse(endpoint, body)
        if isinstance(call, Reply):
            return call
        if not self.models.answers(call.model):
            return replies.model_not_found(call.model)
        if books.picodollars >= settings.quota_usd * PICODOLLARS_PER_USD:
            return replies.quota_exhausted()
        return call

    async def _turn_away(self, reply: Reply, wire: Wire, books: Books) -> None:
        books.fail(reply.kind)
        books.status[str(reply.status)] += 1
        await wire.reply(reply)

    async def _serve(self, case: Case, fault: Fault | None) -> None:
        """Produce, unless the fault comes before, and bill; then hand over what the fault leaves of it."""
        if fault is not None:
            case.books.fail(fault.value)
        if fault in _UNANSWERED or (fault in (Fault.HANG, Fault.HTML_ERROR) and case.draw.number(b"produced") < 0.5):
            await self._spoil(case, fault, b"")
            return
        produced = await self.backend.produce(
            case.call, body_chance=self.chances.of_body(case.digest), draw_chance=case.draw, gone=case.wire.gone
        )
        if isinstance(produced, Reply):
            await self._turn_away(produced.plus(case.headers), case.wire, case.books)
            return
        answer = afflict(produced, fault)
        self._bill(case, answer)
        body = payload(case.call, answer, with_usage=fault is not Fault.MISSING_USAGE)
        await self._spoil(case, fault, body)

    def _bill(self, case: Case, answer: Answer) -> None:
        price = self.prices.price(case.call.model)
        case.books.bill(case.number, price, answer.input_tokens, answer.output_tokens)
        back = self.controls.settings.admission.given_back(case.counted, answer.input_tokens, answer.output_tokens)
        if back:
            case.books.give_back(back)
            now = self._monotonic()
            self.controls.limiter(case.call.model, now).tokens.give_back(back, now)

    async def _spoil(self, case: Case, fault: Fault | None, body: bytes) -> None:
        match fault:
            case Fault.RATE_LIMIT_BARE | Fault.RATE_LIMIT_RETRY_AFTER:
                await self._say(case, _injected_429(case, fault))
            case Fault.SERVER_ERROR:
                await self._say(case, replies.server_error((500, 502, 503)[int(case.draw.number(b"status") * 3)]))
            case Fault.HTML_ERROR:
                await self._say(case, replies.gateway_page())
            case Fault.HANG:
                await self._break(case, "hang", case.wire.wait_gone())
            case Fault.CUT_BEFORE:
                await self._break(case, "cut", case.wire.reset())
            case Fault.CUT_AFTER:
                await self._break(case, "cut", case.wire.close())
            case Fault.TRUNCATED_BODY:
                await self._break(case, "truncated", self._truncate(case, body))
            case _:
                await self._deliver(case, body)

    async def _say(self, case: Case, reply: Reply) -> None:
        case.books.status[str(reply.status)] += 1
        await case.wire.reply(reply.plus(case.headers))

    async def _break(self, case: Case, status: str, breaking: Awaitable[None]) -> None:
        case.books.status[status] += 1
        await breaking

    async def _truncate(self, case: Case, body: bytes) -> None:
        reply = Reply(status=200, body=body).plus(case.headers)
        halve = case.wire.reply_half if case.draw.number(b"framing") < 0.5 else case.wire.reply_half_chunked
        await halve(reply)

    async def _deliver(self, case: Case, body: bytes) -> None:
        if await case.wire.reply(Reply(status=200, body=body).plus(case.headers)):
            case.books.status["200"] += 1
            case.books.deliver(case.number)
        else:
            case.books.status["abandoned"] += 1


async def passed_pause(controls: Controls, wire: Wire) -> bool:
    """Wait while the server is paused; whether the client is still there afterwards."""
    if not controls.settings.paused:
        return True
    running = asyncio.ensure_future(controls.unpaused())
    gone = asyncio.ensure_future(wire.wait_gone())
    try:
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        return not gone.done()
    finally:
        running.cancel()
        gone.cancel()


def limit_reply(model: str, denied: Denied) -> Reply:
    """The 429 of a limit that is really spent."""
    unit = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}[denied.kind]
    numbers = f"on {unit}: Limit {denied.limit:.0f}, Requested {denied.requested}."
    if denied.never:
        message = f"Request too large for {model} in organization org-simulated {numbers} It must be reduced to run."
        return replies.rate_limited(message, limit_type=denied.kind, kind="too_large", retry_after_s=None)
    message = f"Rate limit reached for {model} in organization org-simulated {numbers}"
    message += f" Please try again in {duration(denied.wait_s)}."
    return replies.rate_limited(
        message, limit_type=denied.kind, kind=f"{denied.kind}_per_minute", retry_after_s=denied.wait_s
    )


def _injected_429(case: Case, fault: Fault) -> Reply:
    shortest, longest = _RETRY_AFTER_S
    wait_s = shortest + (longest - shortest) * case.draw.number(b"retry-after")
    message = f"Rate limit reached for {case.call.model} in organization org-simulated (injected by the simulator)."
    after = wait_s if fault is Fault.RATE_LIMIT_RETRY_AFTER else None
    return replies.rate_limited(message, limit_type="requests", kind=fault.value, retry_after_s=after)
