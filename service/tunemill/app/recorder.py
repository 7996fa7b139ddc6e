"""The journal as the engine sees it: the engine's words on one side, the journal's lines on the other.

Every line that somebody waits for is taken into account (totals, index) only after it is durable. The others (rows,
places that are served) become durable with, or before, the next that is.
"""

import hashlib
from collections.abc import Sequence

import orjson

from tunemill.answers import outcome_of, parse_completion
from tunemill.clock import Clock
from tunemill.engine import Place, Standing, Step
from tunemill.journal import (
    AttemptFailed,
    Completed,
    Failed,
    Journal,
    JournalWriter,
    KnownRequest,
    Line,
    RequestState,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
    digits_of,
    key_of,
)
from tunemill.model import Completion, Delivered, Failure, FailureKind, Picodollars, Request, Row


class JournalRecorder:
    """What `tunemill.engine.Recorder` asks for, on a journal that this process writes.

    `retry_failed` makes requests that failed for good in an earlier process new again; `keep_existing` lets a place
    keep the answer that it has although its request has changed.
    """

    def __init__(
        self,
        journal: Journal,
        writer: JournalWriter,
        *,
        clock: Clock,
        steps: Sequence[Step],
        retry_failed: bool = False,
        keep_existing: bool = False,
    ) -> None:
        self._journal = journal
        self._index = journal.index
        self._writer = writer
        self._clock = clock
        self._steps = steps
        self._numbers = {step.name: number for number, step in enumerate(steps)}
        self._retry_failed = retry_failed
        self._keep_existing = keep_existing
        self._began = journal.end

    def row(self, position: int, row: Row) -> bool:
        """See `Recorder.row`."""
        # Positions behind this one are an earlier walk's: only where the row was seen last says something.
        known = self._index.row(row.id)
        if known is not None and known.position <= position and self._index.is_at(known.position, row.id):
            is_here = known.position == position
            if not is_here or known.location.length:  # a damaged line had the fields: they are noted anew
                return is_here
        has_fields = known is not None and known.location.length > 0
        self._append(RowSeen(position=position, row=row.id, fields=None if has_fields else row.fields))
        return True

    def source_ended(self, rows: int) -> None:
        """See `Recorder.source_ended`."""
        self._append(SourceEnded(rows=rows))

    def look_up(self, place: Place, request: Request) -> tuple[Standing, int]:
        """See `Recorder.look_up`."""
        known = self._index.request(request.id)
        if known is not None and known.state is RequestState.COMPLETED:
            return Standing.ANSWERED, known.attempts
        if self._keep_existing and self._has_answer(place):
            return Standing.KEPT, 0
        if known is None:
            return Standing.NEW, 0
        return Standing.SET_ASIDE if self._is_set_aside(known) else Standing.NEW, known.attempts

    def serve(self, place: Place, request: Request) -> None:
        """See `Recorder.serve`."""
        step = self._steps[place.step].name
        parent = self._parent(place.row.id, step, place.sample)
        if self._index.slot(place.row.id, step, place.sample) != (key_of(request.id), parent):
            self._append(Reused(row=place.row.id, step=step, sample=place.sample, request=request.id, parent=parent))

    def answer_at(self, place: Place) -> Completion:
        """See `Recorder.answer_at`."""
        known = self._index.slot_request(place.row.id, self._steps[place.step].name, place.sample)
        assert known is not None
        assert known.state is RequestState.COMPLETED
        record = self._journal.reader.read(known.outcome)
        return parse_completion(record["answer"], record["provider_request_id"])

    async def sent(self, request: Request, attempt: int, reserved: Picodollars) -> None:
        """See `Recorder`."""
        await self._commit(
            Sent(
                at=self._clock.wall(),
                request=request.id,
                row=request.row_id,
                step=request.step,
                sample=request.sample,
                attempt=attempt,
                reserved=reserved,
                path=request.path,
                body=orjson.Fragment(request.body) if attempt == 1 else None,
                parent=self._parent(request.row_id, request.step, request.sample),
            )
        )

    async def completed(
        self,
        request: Request,
        attempt: int,
        reply: Delivered,
        cost: Picodollars,
        duration_s: float,
    ) -> None:
        """See `Recorder`."""
        completion = reply.completion
        await self._commit(
            Completed(
                at=self._clock.wall(),
                request=request.id,
                row=request.row_id,
                step=request.step,
                sample=request.sample,
                attempt=attempt,
                cost=cost,
                outcome=outcome_of(completion),
                usage=completion.usage,
                duration_s=duration_s,
                provider_request_id=completion.provider_request_id,
                answer=orjson.Fragment(reply.body),
            )
        )

    async def attempt_failed(self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars) -> None:
        """See `Recorder`."""
        await self._commit_failure(AttemptFailed, request, attempt, failure, uncertain)

    async def failed(self, request: Request, attempt: int, failure: Failure, uncertain: Picodollars) -> None:
        """See `Recorder`."""
        await self._commit_failure(Failed, request, attempt, failure, uncertain)

    async def _commit_failure(
        self,
        kind: type[AttemptFailed | Failed],
        request: Request,
        attempt: int,
        failure: Failure,
        uncertain: Picodollars,
    ) -> None:
        await self._commit(
            kind(
                at=self._clock.wall(),
                request=request.id,
                row=request.row_id,
                step=request.step,
                sample=request.sample,
                attempt=attempt,
                failure=failure.kind,
                status=failure.status,
                message=failure.message,
                uncertain=uncertain,
            )
        )

    def set_aside(self, place: Place, kind: FailureKind, message: str) -> str | None:
        """See `Recorder.set_aside`."""
        step = self._steps[place.step].name
        request_id = _id_of_unsent(place.row.id, step, place.sample)
        slot = self._index.slot(place.row.id, step, place.sample)
        if slot is not None and slot[0] == key_of(request_id):
            return None
        self._append(
            Failed(
                at=self._clock.wall(),
                request=request_id,
                row=place.row.id,
                step=step,
                sample=place.sample,
                attempt=0,
                failure=kind,
                status=None,
                message=message,
                uncertain=0,
            )
        )
        return request_id

    def _is_set_aside(self, known: KnownRequest) -> bool:
        """Whether it failed for good, in this process where those of earlier ones are to be tried again."""
        if known.state is not RequestState.FAILED:
            return False
        here, began = known.outcome, self._began
        return not self._retry_failed or (here.segment, here.offset) >= (began.segment, began.end)

    def _has_answer(self, place: Place) -> bool:
        known = self._index.slot_request(place.row.id, self._steps[place.step].name, place.sample)
        return known is not None and known.state is RequestState.COMPLETED

    def _parent(self, row_id: str, step: str, sample: int) -> str:
        """The request that serves the place above at this moment, as the journal names it; "" for the first step."""
        at = self._numbers[step]
        if at == 0:
            return ""
        above = self._index.slot(row_id, self._steps[at - 1].name, sample // self._steps[at].samples)
        return "" if above is None else digits_of(above[0])

    def _append(self, line: Line) -> None:
        self._journal.add(line, self._writer.append(line))

    async def _commit(self, line: Line) -> None:
        self._journal.add(line, await self._writer.commit(line))


def _id_of_unsent(row_id: str, step: str, sample: int) -> str:
    """An id for what has no body to be hashed."""
    return hashlib.blake2b(f"unsent/{row_id}/{step}/{sample}".encode(), digest_size=16).hexdigest()
