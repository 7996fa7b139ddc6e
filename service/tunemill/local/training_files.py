"""Whether a file can be fine-tuned on, judged as the hosted service judges it: chat, completion or preference format.

Streams; holds no example. Counts examples and tokens and keeps the first few faults with their lines. It is written
apart from tunemill's own checker on purpose: two readings of one rule book find each other's mistakes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from tunemill.local.calls import MESSAGE_FRAMING_TOKENS, message_characters, tokens_in

EXAMPLES_MIN = 10
_PROBLEMS_MAX = 10
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGE_KEYS = {
    "role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio",
}  # fmt: skip
_CHAT_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}


class FileFormat(Enum):
    """How the examples of a file are written."""

    CHAT = "chat"
    COMPLETION = "prompt-completion"
    PREFERENCE = "preference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file holds. `problems` are the first few, each with its line; the file is good where there are none."""

    examples: int
    tokens: int
    problems: tuple[str, ...]


class Unfit(Exception):
    """One example is not as the format asks; the message says where and what."""


def inspect(lines: Iterable[bytes], expected: FileFormat | None) -> Inspection:
    """Judge the lines of a file. `expected` None accepts chat and prompt-completion, whichever the first line is in."""
    examples = tokens = 0
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            example = _object(line)
            expected = expected or _format_of(example)
            tokens += _CHECKS[expected](example)
            examples += 1
        except Unfit as problem:
            if len(problems) < _PROBLEMS_MAX:
                problems.append(f"Line {number}: {problem}")
    return Inspection(examples=examples, tokens=tokens, problems=tuple(problems))


def _object(line: bytes) -> dict[str, Any]:
    try:
        example = orjson.loads(line)
    except orjson.JSONDecodeError as problem:
        raise Unfit(f"not valid JSON ({problem})") from None
    if not isinstance(example, dict):
        raise Unfit("expected a JSON object")
    return example


def _format_of(example: dict[str, Any]) -> FileFormat:
    return FileFormat.COMPLETION if "prompt" in example else FileFormat.CHAT


def _chat(example: dict[str, Any]) -> int:
    _only(example, _CHAT_KEYS)
    messages = _messages(example.get("messages"), "messages")
    if messages[-1]["role"] != "assistant":
        raise Unfit("the last message must be from the assistant")
    answers = [message for message in messages if message["role"] == "assistant"]
    if all(message.get("weight") == 0 for message in answers):
        raise Unfit("every assistant message has weight 0, so there is nothing to learn")
    return _tokens(messages) + _tool_tokens(example)


def _completion(example: dict[str, Any]) -> int:
    _only(example, {"prompt", "completion"})
    for key in ("prompt", "completion"):
        if not isinstance(example.get(key), str):
            raise Unfit(f"{key}: expected a string")
    if not example["completion"]:
        raise Unfit("completion: must not be empty")
    return tokens_in(len(example["prompt"]) + len(example["completion"]))


def _preference(example: dict[str, Any]) -> int:
    _only(example, {"input", "preferred_output", "non_preferred_output"})
    given = example.get("input")
    if not isinstance(given, dict):
        raise Unfit("input: expected an object with messages")
    messages = _messages(given.get("messages"), "input.messages")
    if messages[-1]["role"] == "assistant":
        raise Unfit("input.messages: the last message must not be from the assistant")
    tokens = _tokens(messages) + _tool_tokens(given)
    for key in ("preferred_output", "non_preferred_output"):
        output = _messages(example.get(key), key)
        if len(output) != 1 or output[0]["role"] != "assistant":
            raise Unfit(f"{key}: expected exactly one message, from the assistant")
        tokens += _tokens(output)
    return tokens


_CHECKS: dict[FileFormat, Callable[[dict[str, Any]], int]] = {
    FileFormat.CHAT: _chat,
    FileFormat.COMPLETION: _completion,
    FileFormat.PREFERENCE: _preference,
}


def _only(example: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(example) - known)
    if unknown:
        raise Unfit(f"unexpected key {unknown[0]!r}")


def _messages(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise Unfit(f"{where}: expected a non-empty array")
    for index, message in enumerate(value):
        _message(message, f"{where}[{index}]")
    return value


def _message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise Unfit(f"{where}: expected an object")
    role = message.get("role")
    if role not in _ROLES:
        raise Unfit(f"{where}.role: {role!r} is not one of {', '.join(_ROLES)}")
    unknown = sorted(set(message) - _MESSAGE_KEYS)
    if unknown:
        raise Unfit(f"{where}: unexpected key {unknown[0]!r}")
    _content(message, where)
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
        raise Unfit(f"{where}.weight: only assistant messages have a weight, and it is 0 or 1")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise Unfit(f"{where}.tool_call_id: a tool message must say which call it answers")


def _content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    calls = message.get("tool_calls") or message.get("function_call")
    if content is None and message["role"] == "assistant" and calls:
        return
    if not isinstance(content, str | list):
        raise Unfit(f"{where}.content: expected a string or an array of content parts")


def _tokens(messages: list[dict[str, Any]]) -> int:
    return sum(tokens_in(message_characters(message)) + MESSAGE_FRAMING_TOKENS for message in messages)


def _tool_tokens(example: dict[str, Any]) -> int:
    return tokens_in(len(orjson.dumps(example["tools"]).decode())) if example.get("tools") else 0
