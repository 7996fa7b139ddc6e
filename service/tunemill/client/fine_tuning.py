"""The files and fine-tuning API of one target, through `AsyncOpenAI`. The only place that knows how it is spoken.

Each call is made once (the SDK's retries are off) under a deadline of ours, and ends in a value or in a `TargetError`.
Replies are parsed from their JSON and not by the SDK's types, which trust a server to send every field. It knows
nothing of records, of the run, or of what a lost reply means to them.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import openai
from openai import omit
from openai.types.fine_tuning import job_create_params

from tunemill.client import fine_tuning_replies as replies
from tunemill.client.connection import nothing_was_sent, what_broke
from tunemill.client.fine_tuning_values import (
    CheckpointInfo,
    FileInfo,
    JobEvent,
    JobInfo,
    JobRequest,
    ModelInfo,
    TargetBusy,
    TargetError,
    TargetRefused,
    TargetUncertain,
    TargetUnreachable,
)
from tunemill.client.sdk import http_client_for
from tunemill.client.translate import failure_of, readable
from tunemill.clock import Clock
from tunemill.model import FailureKind, JsonObject

PAGES_MAX = 1_000
_PER_PAGE = 100
_FILES_PER_PAGE = 1_000
_NO = {FailureKind.BAD_REQUEST, FailureKind.BAD_KEY, FailureKind.QUOTA_EXHAUSTED, FailureKind.MODEL_UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds that one call may take, and the slowest bytes per second that extend them for an upload."""

    call_s: float = 60.0
    upload_bytes_per_second_min: float = 100_000.0

    def upload_s(self, size: int) -> float:
        """Seconds for a file of so many bytes."""
        return self.call_s + size / self.upload_bytes_per_second_min


class _Raw(Protocol):
    @property
    def content(self) -> bytes: ...


class FineTuningTarget:
    """One target. `base_url` may be that of any server that speaks the OpenAI files and fine-tuning API."""

    __slots__ = ("_clock", "_deadlines", "_sdk", "_secret")

    def __init__(self, *, base_url: str, api_key: str, clock: Clock, deadlines: Deadlines | None = None) -> None:
        self._clock = clock
        self._deadlines = deadlines or Deadlines()
        self._secret = api_key
        self._sdk = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=20.0),
            http_client=http_client_for(base_url),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """All models; none where the target keeps no list (404)."""
        try:
            body = await self._call(self._sdk.models.with_raw_response.list)
        except TargetRefused as refusal:
            if refusal.is_missing:
                return ()
            raise
        with _reading():
            return tuple(map(replies.model_of, replies.with_ids(replies.items_of(replies.object_of(body)))))

    async def upload(self, path: Path, name: str) -> FileInfo:
        """Send a training file under `name`, in pieces. A reply that is lost raises `TargetUncertain`."""
        with path.open("rb") as handle:
            deadline_s = self._deadlines.upload_s(os.fstat(handle.fileno()).st_size)
            file = (name, handle, "application/jsonl")
            body = await self._call(
                lambda: self._sdk.files.with_raw_response.create(file=file, purpose="fine-tune"), deadline_s
            )
        with _reading():
            return replies.file_of(replies.object_of(body))

    async def retrieve_file(self, file_id: str) -> FileInfo:
        """An uploaded file; `TargetRefused` with `is_missing` where it is gone."""
        body = await self._call(lambda: self._sdk.files.with_raw_response.retrieve(file_id))
        with _reading():
            return replies.file_of(replies.object_of(body))

    async def list_files(self) -> tuple[FileInfo, ...]:
        """All files that were uploaded for fine-tuning."""
        listed = await self._pages(
            lambda after: self._sdk.files.with_raw_response.list(
                purpose="fine-tune", order="desc", limit=_FILES_PER_PAGE, after=after or omit
            )
        )
        return tuple(map(replies.file_of, replies.with_ids(listed)))

    async def create(self, request: JobRequest) -> JobInfo:
        """Begin a fine-tuning job. A reply that is lost raises `TargetUncertain`."""
        body = await self._call(
            lambda: self._sdk.fine_tuning.jobs.with_raw_response.create(
                model=request.model,
                training_file=request.training_file,
                validation_file=request.validation_file or omit,
                method=_method(request),
                suffix=request.suffix or omit,
                seed=omit if request.seed is None else request.seed,
                integrations=_integrations(request.wandb_project) or omit,
                metadata=dict(request.metadata),
            )
        )
        with _reading():
            return replies.job_of(replies.object_of(body))

    async def retrieve(self, job_id: str) -> JobInfo:
        """A fine-tuning job as it stands; `TargetRefused` with `is_missing` where the target does not know it."""
        body = await self._call(lambda: self._sdk.fine_tuning.jobs.with_raw_response.retrieve(job_id))
        with _reading():
            return replies.job_of(replies.object_of(body))

    async def list_jobs(self) -> tuple[JobInfo, ...]:
        """All fine-tuning jobs, with their metadata where the target keeps it."""
        listed = await self._pages(
            lambda after: self._sdk.fine_tuning.jobs.with_raw_response.list(limit=_PER_PAGE, after=after or omit)
        )
        return tuple(map(replies.job_of, replies.with_ids(listed)))

    async def list_events(self, job_id: str, known: Set[str]) -> tuple[JobEvent, ...]:
        """The job's events, oldest first. Pages behind one that ends in a known, older event are not fetched."""
        listed = await self._pages(
            lambda after: self._sdk.fine_tuning.jobs.with_raw_response.list_events(
                job_id, limit=_PER_PAGE, after=after or omit
            ),
            known,
        )
        return replies.oldest_first([replies.event_of(raw) for raw in listed])

    async def list_checkpoints(self, job_id: str) -> tuple[CheckpointInfo, ...]:
        """The job's checkpoints by step."""
        listed = await self._pages(
            lambda after: self._sdk.fine_tuning.jobs.checkpoints.with_raw_response.list(
                job_id, limit=_PER_PAGE, after=after or omit
            )
        )
        return tuple(sorted(map(replies.checkpoint_of, listed), key=lambda checkpoint: checkpoint.step))

    async def read_file(self, file_id: str) -> bytes:
        """A file's content as served (a result file is CSV, or base64 of CSV)."""
        return await self._call(lambda: self._sdk.files.with_raw_response.content(file_id))

    async def cancel(self, job_id: str) -> JobInfo:
        """Ask the target to stop the job; `TargetRefused` where it has ended already."""
        body = await self._call(lambda: self._sdk.fine_tuning.jobs.with_raw_response.cancel(job_id))
        with _reading():
            return replies.job_of(replies.object_of(body))

    async def _pages(self, fetch: Callable[[str], Awaitable[_Raw]], known: Set[str] = frozenset()) -> list[JsonObject]:
        """All items of a list. Ends also at a server that ignores `after` and serves the same page for ever."""
        items: dict[str, JsonObject] = {}
        after = ""
        for _ in range(PAGES_MAX):
            body = await self._call(functools.partial(fetch, after))
            with _reading():
                page = replies.object_of(body)
                found = {replies.identity_of(item): item for item in replies.items_of(page)}
            has_news = not found.keys() <= items.keys()
            items |= found
            if not (has_news and page.get("has_more")) or replies.reaches(known, list(found.values())):
                break
            after = list(found)[-1]
        return list(items.values())

    async def _call(self, send: Callable[[], Awaitable[_Raw]], deadline_s: float | None = None) -> bytes:
        """Make one call; every foreign error becomes a `TargetError` here and nowhere else."""
        seconds = self._deadlines.call_s if deadline_s is None else deadline_s
        try:
            async with asyncio.timeout(seconds):
                return (await send()).content
        except TimeoutError:
            raise TargetUncertain(f"no answer within {seconds:g} s") from None
        except openai.APIStatusError as error:
            raise self._answered(error.response) from None
        except openai.APIConnectionError as error:
            raise self._broken(error) from None

    # The SDK's errors are not chained: they carry the request with its headers and quote what a server echoes.

    def _answered(self, response: httpx2.Response) -> TargetError:
        headers, body = response.headers, response.content
        failure = failure_of(response.status_code, headers, body, wall=self._clock.wall(), secret=self._secret)
        if failure.kind is FailureKind.RATE_LIMITED:
            return TargetBusy(failure.message, retry_after_s=failure.retry_after_s)
        if failure.kind in _NO:
            return TargetRefused(failure.message, kind=failure.kind, status=response.status_code)
        return TargetUncertain(failure.message)

    def _broken(self, error: openai.APIConnectionError) -> TargetError:
        message = readable(what_broke(error), self._secret)
        return TargetUnreachable(message) if nothing_was_sent(error) else TargetUncertain(message)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """A reply that makes no sense leaves open what happened."""
    try:
        yield
    except replies.BadReply as bad:
        raise TargetUncertain(f"the target answered with {bad}") from None


def _method(request: JobRequest) -> job_create_params.Method:
    # The recipe's names of the hyperparameters are the wire's.
    hyperparameters: Any = dict(request.hyperparameters)
    if request.method == "dpo":
        return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def _integrations(wandb_project: str) -> list[job_create_params.Integration]:
    return [{"type": "wandb", "wandb": {"project": wandb_project}}] if wandb_project else []
