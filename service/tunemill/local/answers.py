"""An answer as a value, what a fault makes of it, and the JSON in which the hosted API would send it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tunemill.local.calls import CHARACTERS_PER_TOKEN, Call, Endpoint, tokens_in
from tunemill.local.faults import Fault

FINGERPRINT_SIMULATOR = "fp_tunemill_simulator"
_REFUSAL = "I'm sorry, but I can't assist with that request. (simulated refusal)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the answers to a request. A `refusal` stands in place of a text."""

    text: str
    finish_reason: str
    tokens: int
    refusal: str | None = None
    tool_calls: Sequence[Any] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a backend produced. `input_tokens` counts all prompts of the request once."""

    id: str
    model: str
    fingerprint: str
    created: int
    choices: Sequence[Choice]
    input_tokens: int

    @property
    def output_tokens(self) -> int:
        """Over all choices."""
        return sum(choice.tokens for choice in self.choices)


def afflict(answer: Answer, fault: Fault | None) -> Answer:
    """What the fault makes of the answer; faults of the wire leave it as it is."""
    if fault is Fault.EMPTY_CHOICES:
        return replace(answer, choices=())
    change = (
        {Fault.REFUSAL: _refused, Fault.LENGTH: _cut_off, Fault.CONTENT_FILTER: _filtered}.get(fault) if fault else None
    )
    return answer if change is None else replace(answer, choices=tuple(change(choice) for choice in answer.choices))


def _refused(choice: Choice) -> Choice:
    # Never longer than the answer it replaces, so that max_tokens holds for what is billed.
    said = _REFUSAL[: choice.tokens * CHARACTERS_PER_TOKEN]
    return Choice(text="", finish_reason="stop", tokens=tokens_in(len(said)), refusal=said)


def _cut_off(choice: Choice) -> Choice:
    return replace(choice, text=choice.text[: max(1, len(choice.text) // 2)], finish_reason="length")


def _filtered(choice: Choice) -> Choice:
    return replace(choice, text="", finish_reason="content_filter")


def payload(call: Call, answer: Answer, *, with_usage: bool) -> bytes:
    """The reply's body."""
    chat = call.endpoint is Endpoint.CHAT
    shape = _chat_choice if chat else _legacy_choice
    value: dict[str, object] = {
        "id": answer.id,
        "object": "chat.completion" if chat else "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [shape(index, choice) for index, choice in enumerate(answer.choices)],
        "system_fingerprint": answer.fingerprint,
    }
    if with_usage:
        value["usage"] = _usage(answer)
    if chat:
        value["service_tier"] = "default"
    return orjson.dumps(value)


def _chat_choice(index: int, choice: Choice) -> dict[str, object]:
    declined = choice.refusal is not None or bool(choice.tool_calls and not choice.text)
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if declined else choice.text,
        "refusal": choice.refusal,
        "annotations": [],
    }
    if choice.tool_calls:
        message["tool_calls"] = list(choice.tool_calls)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}


def _legacy_choice(index: int, choice: Choice) -> dict[str, object]:
    # The older endpoint has no field for a refusal: declining is just what the text says.
    text = choice.refusal or choice.text
    return {"text": text, "index": index, "logprobs": None, "finish_reason": choice.finish_reason}


def _usage(answer: Answer) -> dict[str, object]:
    output = answer.output_tokens
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": output,
        "total_tokens": answer.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
