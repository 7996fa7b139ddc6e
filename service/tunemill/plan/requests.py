"""From a row and the texts of earlier steps to the exact bytes that are sent.

Promises: the same row, recipe and texts give the same request id in every process and on every machine; another row, or
another step, never changes it. The input bound is a true one: a byte-level tokenizer never makes more tokens than
there are bytes, the body is counted with all its JSON around the text, and what a provider adds to frame messages and
to explain tools is covered by a fixed allowance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import orjson
from pydantic import JsonValue

from tunemill.model import Json, Lane, Request, Row
from tunemill.plan.chain import Chain
from tunemill.recipe.sections import Recipe, StepSection
from tunemill.templates import BYTES_PER_TOKEN, Template, Unrenderable, values_for

RENDERING = 1  # to be raised whenever the same row and recipe come to make another request
CHAT_PATH = "/chat/completions"
COMPLETIONS_PATH = "/completions"

# Providers wrap each message and each answer into a few tokens of their own (OpenAI's chat models: 4 and 3), and put
# instructions before tools (up to some 350 tokens have been seen). These are several times what is known.
FRAMING_TOKENS_PER_MESSAGE = 16
FRAMING_TOKENS_PER_REQUEST = 16
TOOL_TOKENS_PER_REQUEST = 1024
FRAMING_TOKENS_USUAL = 8  # for estimates
_TOOL_PARAMS = frozenset({"tools", "functions", "response_format"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """A request that cannot be made, because its row does not fit its template. It never leaves and costs nothing.

    `id` stands in for the request id; it depends on the step, the row and the sample, and on the templates.
    """

    id: str
    row_id: str
    step: str
    sample: int
    lane: Lane
    message: str


class Planner:
    """A recipe's templates, compiled once. `steps` are in the recipe's order; `chain` says which sample reads which."""

    __slots__ = ("chain", "steps")

    def __init__(self, recipe: Recipe) -> None:
        """`recipe` is one that `load_recipe` checked."""
        seed = recipe.source.seed
        self.chain = Chain.of(recipe.steps)
        self.steps = tuple(StepRenderer(step, position=at, seed=seed) for at, step in enumerate(recipe.steps))

    def render(self, step: int, row: Row, sample: int, texts: Mapping[str, str]) -> Request | Unsendable:
        """The request of that step. `texts` are the earlier steps' texts by step name, of this sample's lineage."""
        return self.steps[step].render(row, sample, texts)


class StepRenderer:
    """One step's templates and parameters, ready for many rows."""

    __slots__ = (
        "_empty_bytes",
        "_fixed",
        "_framing",
        "_has_entropy",
        "_is_chat",
        "_output_tokens_max",
        "_path_prefix",
        "_prompt",
        "_seed",
        "_system",
        "lane",
        "name",
        "path",
    )

    def __init__(self, step: StepSection, *, position: int, seed: int) -> None:
        self.name = step.name
        self.lane = Lane(step.provider, step.model)
        self._is_chat = step.endpoint == "chat"
        self.path = CHAT_PATH if self._is_chat else COMPLETIONS_PATH
        self._seed = seed
        self._prompt = Template.parse(step.prompt, key=f"steps[{position}].prompt")
        self._system = None if step.system is None else Template.parse(step.system, key=f"steps[{position}].system")
        templates = [template for template in (self._prompt, self._system) if template is not None]
        self._has_entropy = any("entropy" in template.names for template in templates)
        self._fixed: dict[str, JsonValue] = {"model": step.model, **step.params}
        self._output_tokens_max = output_tokens_max(step.params)
        self._framing = _framing_tokens(step, messages=len(templates))
        self._empty_bytes = len(self._body(self._messages("", None if self._system is None else "")))
        path = self.path.encode()
        self._path_prefix = len(path).to_bytes(8) + path

    def render(self, row: Row, sample: int, texts: Mapping[str, str]) -> Request | Unsendable:
        """The request for this row and sample, or why there is none."""
        values = values_for(row, seed=self._seed, sample=sample, texts=texts, with_entropy=self._has_entropy)
        content = self._content(values)
        if isinstance(content, Unrenderable):
            return self._unsendable(row, sample, content)
        body = self._body(content)
        return Request(
            id=self._id(body, sample),
            row_id=row.id,
            step=self.name,
            sample=sample,
            lane=self.lane,
            path=self.path,
            body=body,
            input_tokens_max=len(body) + self._framing,
            output_tokens_max=self._output_tokens_max,
        )

    def input_tokens_expected(self, request: Request) -> int:
        """About how many tokens the provider will count for the texts of one of this step's own requests."""
        return -(-(len(request.body) - self._empty_bytes) // BYTES_PER_TOKEN) + FRAMING_TOKENS_USUAL

    def _content(self, values: Mapping[str, Json]) -> Mapping[str, Json] | Unrenderable:
        prompt = self._prompt.render(values)
        if isinstance(prompt, Unrenderable):
            return prompt
        if not prompt or prompt.isspace():
            return Unrenderable(key=self._prompt.key, problem="the prompt is empty for this row")
        system = None if self._system is None else self._system.render(values)
        return system if isinstance(system, Unrenderable) else self._messages(prompt, system)

    def _messages(self, prompt: str, system: str | None) -> Mapping[str, Json]:
        if not self._is_chat:
            return {"prompt": prompt}
        user: Json = {"role": "user", "content": prompt}
        return {"messages": [user] if system is None else [{"role": "system", "content": system}, user]}

    def _body(self, content: Mapping[str, Json]) -> bytes:
        return orjson.dumps({**self._fixed, **content}, option=orjson.OPT_SORT_KEYS)

    def _id(self, body: bytes, sample: int) -> str:
        """A hash of the path, the body and the sample, each with its length before it, so that nothing is ambiguous."""
        parts = (self._path_prefix, len(body).to_bytes(8), body, sample.to_bytes(8))
        return blake2b(b"".join(parts), digest_size=16).hexdigest()

    def _unsendable(self, row: Row, sample: int, reason: Unrenderable) -> Unsendable:
        texts = [template.text for template in (self._prompt, self._system) if template is not None]
        what = orjson.dumps([self.name, row.id, sample, texts])
        return Unsendable(
            id=blake2b(what, digest_size=16, person=b"unsendable").hexdigest(),
            row_id=row.id,
            step=self.name,
            sample=sample,
            lane=self.lane,
            message=f"{reason.key}: {reason.problem}",
        )


def output_tokens_max(params: Mapping[str, JsonValue]) -> int | None:
    """The most tokens that an answer to these parameters can have; None where nothing bounds it."""
    bounds = [params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    whole = [bound for bound in bounds if isinstance(bound, int)]
    return max(whole) * choices(params) if whole else None


def choices(params: Mapping[str, JsonValue]) -> int:
    """How many answers one request asks for and pays for. `load_recipe` lets only 1 through."""
    asked = [params.get(name) for name in ("n", "best_of")]
    return max((value for value in asked if isinstance(value, int)), default=1)


def _framing_tokens(step: StepSection, *, messages: int) -> int:
    tools = TOOL_TOKENS_PER_REQUEST if _TOOL_PARAMS & step.params.keys() else 0
    return FRAMING_TOKENS_PER_REQUEST + FRAMING_TOKENS_PER_MESSAGE * messages + tools
