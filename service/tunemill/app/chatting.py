"""Talking to a tuned model, or to any, in the format that the run's dataset taught."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tunemill.answers import parse_completion
from tunemill.app.open_run import RecordedRun
from tunemill.app.recorded import is_simulated
from tunemill.app.stages import reaching
from tunemill.client.completions import CompletionsClient
from tunemill.clock import Clock, SystemClock
from tunemill.dataset import Inference, read_inference
from tunemill.errors import ProviderRefused, RunFolderError
from tunemill.finetune.record import Outcome
from tunemill.finetune.store import load
from tunemill.model import Delivered, Json, Lane, Request
from tunemill.telemetry import one_line
from tunemill.templates import Template

TIMEOUT_S = 300.0
TEMPLATE_CHARS_SHOWN = 500


@dataclass(slots=True, kw_only=True)
class Talker:
    """One conversation. Completion models have no memory of it: each line is a prompt of its own."""

    model: str
    _simulated: bool
    _base_url: str
    _client: CompletionsClient
    _inference: Inference
    _max_tokens: int
    _earlier: list[dict[str, Json]] = field(default_factory=list)

    def about(self) -> Iterator[str]:
        """Who answers, and what it was trained to be asked: a line each."""
        inference = self._inference
        shape = "prompt, separator and stop" if inference.format == "completion" else "messages"
        yield f"{self.model}: asked with {shape} as it was trained"
        if self._simulated:
            yield "SIMULATED: the embedded server answers, and nothing was tuned"
        template = inference.prompt or inference.user
        if template:
            yield f"its prompts were written by this template: {one_line(template, chars_max=TEMPLATE_CHARS_SHOWN)}"

    async def answer(self, asked: str) -> str:
        """The model's answer to a line. Raises ProviderRefused where there is none."""
        inference = self._inference
        earlier = [] if inference.format == "completion" else self._earlier
        part = inference.request(asked, system=_fixed_text(inference.system), earlier=earlier)
        reply = await self._client.send(self._request(part), TIMEOUT_S)
        if not isinstance(reply, Delivered):
            mend = "see that the address, the key and the model are right (--model names another), and ask again"
            raise ProviderRefused(f"{self.model} at {self._base_url}: {reply.failure.message}; {mend}")
        completion = parse_completion(orjson.loads(reply.body))
        self._earlier += [{"role": "user", "content": asked}, {"role": "assistant", "content": completion.text}]
        return completion.text.strip() or completion.refusal or "(no text)"

    def _request(self, part: Mapping[str, Any]) -> Request:
        body = orjson.dumps({"model": self.model, "max_tokens": self._max_tokens, **part})
        path = "/completions" if "prompt" in part else "/chat/completions"
        return Request(
            id="",
            row_id="",
            step="chat",
            sample=0,
            lane=Lane("", self.model),
            path=path,
            body=body,
            input_tokens_max=len(body),
            output_tokens_max=self._max_tokens,
        )


@asynccontextmanager
async def talking(
    run: RecordedRun,
    environment: Mapping[str, str],
    *,
    model: str | None,
    max_tokens: int,
    backend: str,
    clock: Clock | None = None,
) -> AsyncIterator[Talker]:
    """A conversation with `model`, or with the model that the run tuned. Raises RunFolderError where there is none.

    `backend` is what the embedded server answers with, which is asked where the run is simulated.
    """
    inference = read_inference(run.folder.path)
    chosen = model or _tuned_model(run)
    section = run.loaded.recipe.fine_tune
    async with reaching(run, environment, backend=backend) as access:
        reach = access(section.provider if section else "")
        client = CompletionsClient(
            base_url=reach.base_url, api_key=reach.api_key, connections=4, clock=clock or SystemClock()
        )
        try:
            yield Talker(
                model=chosen,
                _simulated=is_simulated(run),
                _base_url=reach.base_url,
                _client=client,
                _inference=inference,
                _max_tokens=max_tokens,
            )
        finally:
            await client.aclose()


def _tuned_model(run: RecordedRun) -> str:
    current = load(run.folder.path, run.loaded.recipe.name).current
    if current is not None and isinstance(current.progress, Outcome) and current.progress.model:
        return current.progress.model
    raise RunFolderError(
        "the run has no tuned model yet",
        mend="let `tunemill watch` see the fine-tuning job end, or name one with --model",
        file=run.folder.path,
    )


def _fixed_text(system: str) -> str:
    """The system prompt, where it is the same for everybody; one that reads a row's fields has no row here."""
    template = Template.parse(system, key="train.system")
    rendered = template.render({}) if not template.names else ""
    return rendered if isinstance(rendered, str) else ""
