"""`/v1/files` and `/v1/fine_tuning/jobs` for Starlette: requests in, replies out, and replies that get lost."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tunemill.local.admin import response
from tunemill.local.completions import Completions
from tunemill.local.files import StoredFile, check_upload
from tunemill.local.fine_tuning import FineTuning, Held
from tunemill.local.options import ServerOptions, SideEffect
from tunemill.local.pages import Listed, page
from tunemill.local.replies import Reply, bad_request, json_reply
from tunemill.local.wire import Wire

_JOBS = "/v1/fine_tuning/jobs"


class Cut(Response):
    """No reply: the connection ends instead."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Wire(scope, receive, send).close()


class FineTuningApi:
    """The routes. `completions` is only asked for the books that are open."""

    def __init__(self, state: FineTuning, completions: Completions, options: ServerOptions) -> None:
        self._state = state
        self._completions = completions
        self._to_lose = dict(options.lose_reply)
        self._delay_s = options.delay_s

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files", self._list_files, methods=["GET"]),
            Route("/v1/files/{file_id}", self._retrieve_file, methods=["GET"]),
            Route("/v1/files/{file_id}", self._delete_file, methods=["DELETE"]),
            Route("/v1/files/{file_id}/content", self._content, methods=["GET"]),
            Route(_JOBS, self._create, methods=["POST"]),
            Route(_JOBS, self._list_jobs, methods=["GET"]),
            Route(_JOBS + "/{job_id}", self._retrieve_job, methods=["GET"]),
            Route(_JOBS + "/{job_id}/cancel", self._cancel, methods=["POST"]),
            Route(_JOBS + "/{job_id}/events", self._events, methods=["GET"]),
            Route(_JOBS + "/{job_id}/checkpoints", self._checkpoints, methods=["GET"]),
        ]

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            upload, purpose = form.get("file"), form.get("purpose")
            if not isinstance(upload, UploadFile) or not isinstance(purpose, str):
                return response(bad_request("'file' and 'purpose' are required, as multipart form data."))
            filename = upload.filename or ""
            wrong = check_upload(filename, purpose, upload.size or 0)
            if wrong is not None:
                return response(wrong)
            file = await asyncio.to_thread(self._state.store, filename, purpose, upload.file)
        self._completions.books.uploads += 1
        return await self._after("upload", json_reply(file.to_json()))

    async def _list_files(self, request: Request) -> Response:
        self._state.settle()
        purpose = request.query_params.get("purpose")
        files = [file for file in self._state.files if purpose in (None, file.purpose)]
        return response(page(files, request.query_params, limit_default=10_000, limit_max=10_000))

    def _file(self, request: Request) -> StoredFile | Reply:
        self._state.settle()
        return self._state.files.find(request.path_params["file_id"])

    async def _retrieve_file(self, request: Request) -> Response:
        file = self._file(request)
        return response(file if isinstance(file, Reply) else json_reply(file.to_json()))

    async def _delete_file(self, request: Request) -> Response:
        return response(self._state.files.delete(request.path_params["file_id"]))

    async def _content(self, request: Request) -> Response:
        file = self._file(request)
        if isinstance(file, Reply):
            return response(file)
        return StreamingResponse(file.content.chunks(), media_type="application/octet-stream")

    async def _create(self, request: Request) -> Response:
        try:
            fields = orjson.loads(await request.body())
        except orjson.JSONDecodeError as problem:
            return response(bad_request(f"We could not parse the JSON body of your request: {problem}."))
        if not isinstance(fields, dict):
            return response(bad_request("The JSON body of your request must be an object."))
        job = await self._state.create(fields)
        if isinstance(job, Reply):
            return response(job)
        self._completions.books.jobs_created += 1
        return await self._after("create", json_reply(job.to_json(0.0)))

    async def _list_jobs(self, request: Request) -> Response:
        wanted = _metadata_filter(request.query_params)
        shown = [
            _Shown(id=held.job.id, json=held.job.to_json(self._state.elapsed_s(held)))
            for held in self._state.jobs.values()
            if wanted.items() <= dict(held.job.asked.metadata).items()
        ]
        return response(page(shown, request.query_params, limit_default=20, limit_max=100))

    def _job(self, request: Request) -> Held | Reply:
        self._state.settle()
        return self._state.find(request.path_params["job_id"])

    async def _retrieve_job(self, request: Request) -> Response:
        held = self._job(request)
        if isinstance(held, Reply):
            return response(held)
        self._state.advance(held)
        return self._show(held)

    async def _cancel(self, request: Request) -> Response:
        held = self._job(request)
        if isinstance(held, Reply):
            return response(held)
        refused = self._state.cancel(held)
        return self._show(held) if refused is None else response(refused)

    def _show(self, held: Held) -> Response:
        return response(json_reply(held.job.to_json(self._state.elapsed_s(held))))

    async def _events(self, request: Request) -> Response:
        held = self._job(request)
        if isinstance(held, Reply):
            return response(held)
        events = held.job.events(self._state.elapsed_s(held))
        return response(page(events, request.query_params, limit_default=20, limit_max=100))

    async def _checkpoints(self, request: Request) -> Response:
        held = self._job(request)
        if isinstance(held, Reply):
            return response(held)
        checkpoints = held.job.checkpoints(self._state.elapsed_s(held))
        return response(page(checkpoints, request.query_params, limit_default=10, limit_max=100))

    async def _after(self, effect: SideEffect, reply: Reply) -> Response:
        """What is done is done; now the reply may be late, or lost."""
        if effect in self._delay_s:
            await asyncio.sleep(self._delay_s[effect])
        if self._to_lose.get(effect, 0) > 0:
            self._to_lose[effect] -= 1
            return Cut()
        return response(reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown(Listed):
    """A job as it is at this moment."""

    json: dict[str, object]

    def to_json(self) -> dict[str, object]:
        """As the API lists it."""
        return self.json


def _metadata_filter(query: Mapping[str, str]) -> dict[str, str]:
    return {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")}
