"""A completion request as a value: what is read out of its body, and what is wrong with it. Parsing happens here."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import orjson

from tunemill.local.replies import Reply, bad_request

MESSAGE_FRAMING_TOKENS = 4  # for each message: its role and the marks around it
REPLY_FRAMING_TOKENS = 3  # that open the assistant's turn
CHARACTERS_PER_TOKEN = 4
DEFAULT_COMPLETION_TOKENS = 16  # of the legacy endpoint, where max_tokens is left out

Fields: TypeAlias = dict[str, Any]


class Endpoint(Enum):
    """The two ways to ask for a completion."""

    CHAT = "/v1/chat/completions"
    LEGACY = "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One parsed completion request. `output_tokens_max` is for each choice; None where the body sets no bound."""

    endpoint: Endpoint
    model: str
    body: bytes
    fields: Fields
    prompts: int
    prompt_characters: int
    prompt_tokens: int
    output_tokens_max: int | None
    choices: int
    stop: Sequence[str]


def tokens_in(characters: int) -> int:
    """The simulator's tokenizer: one token for four characters, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def parse(endpoint: Endpoint, body: bytes) -> Call | Reply:
    """The request in `body`, or the 400 that says what is wrong with it."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        return bad_request(f"We could not parse the JSON body of your request: {problem}.")
    if not isinstance(fields, dict):
        return bad_request("The JSON body of your request must be an object.")
    fault = _check(endpoint, fields)
    return fault if fault is not None else _call(endpoint, body, fields)


def _check(endpoint: Endpoint, fields: Fields) -> Reply | None:
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return bad_request("you must provide a model parameter", param="model")
    if fields.get("stream"):
        return bad_request("This server does not stream.", param="stream", code="unsupported_value")
    return _check_numbers(fields) or (_check_messages if endpoint is Endpoint.CHAT else _check_prompt)(fields)


def _check_numbers(fields: Fields) -> Reply | None:
    for name, largest in (("max_tokens", None), ("max_completion_tokens", None), ("n", 128)):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (largest and value > largest):
            bounds = f"an integer from 1 to {largest}" if largest else "an integer of at least 1"
            return bad_request(f"Invalid {name!r}: expected {bounds}, got {value!r}.", param=name)
    stop = fields.get("stop")
    if stop is not None and not isinstance(stop, str) and not _all_strings(stop):
        return bad_request("Invalid 'stop': expected a string or an array of strings.", param="stop")
    return None


def _check_messages(fields: Fields) -> Reply | None:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        return bad_request("Invalid 'messages': expected a non-empty array.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return bad_request(f"Invalid 'messages[{index}]': expected an object with a role.", param="messages")
        content = message.get("content")
        if not (content is None or isinstance(content, str | list)):
            text = f"Invalid 'messages[{index}].content': expected a string or an array of content parts."
            return bad_request(text, param=f"messages.[{index}].content")
    return None


def _check_prompt(fields: Fields) -> Reply | None:
    prompt = fields.get("prompt")
    if isinstance(prompt, str) or (_all_strings(prompt) and prompt):
        return None
    return bad_request("Invalid 'prompt': expected a string or a non-empty array of strings.", param="prompt")


def _all_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _call(endpoint: Endpoint, body: bytes, fields: Fields) -> Call:
    chat = endpoint is Endpoint.CHAT
    prompts = 1 if chat or isinstance(fields["prompt"], str) else len(fields["prompt"])
    characters = _chat_characters(fields) if chat else _prompt_characters(fields["prompt"])
    framing = MESSAGE_FRAMING_TOKENS * len(fields["messages"]) + REPLY_FRAMING_TOKENS if chat else 0
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    stop = fields.get("stop") or ()
    return Call(
        endpoint=endpoint,
        model=fields["model"],
        body=body,
        fields=fields,
        prompts=prompts,
        prompt_characters=characters,
        prompt_tokens=tokens_in(characters) + framing,
        output_tokens_max=limit if limit is not None or chat else DEFAULT_COMPLETION_TOKENS,
        choices=fields.get("n") or 1,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def _prompt_characters(prompt: str | list[str]) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(map(len, prompt))


def _chat_characters(fields: Fields) -> int:
    characters = sum(message_characters(message) for message in fields["messages"])
    tools = fields.get("tools")
    return characters + (len(orjson.dumps(tools).decode()) if tools else 0)


def message_characters(message: Fields) -> int:
    """The characters of a message that are billed: its content, a name and tool calls."""
    content = message.get("content")
    if isinstance(content, str):
        characters = len(content)
    else:
        characters = sum(len(part.get("text", "")) for part in content or () if isinstance(part, dict))
    if "tool_calls" in message:
        characters += len(orjson.dumps(message["tool_calls"]).decode())
    return characters + len(message.get("name") or "")
