"""Faults of one chat example, as targets see them. Pure: an object in, faults out, each with its field's path."""

from collections.abc import Iterator, Mapping, Sequence

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.dataset.check.shapes import key_faults, kind_of, text_faults
from tunemill.dataset.check.tools import answer_faults, call_faults, declaration_faults, names_declared
from tunemill.model import Json, JsonObject

CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

_KEYS_OF_ROLE = {role: frozenset({"role", "content", "name", "weight"}) for role in ROLES} | {
    "assistant": frozenset({"role", "content", "name", "weight", "tool_calls", "function_call", "refusal"}),
    "tool": frozenset({"role", "content", "name", "weight", "tool_call_id"}),
}
_PART_TYPES = {
    "text": "text",
    "image_url": "image_url",
    "input_audio": "input_audio",
    "refusal": "refusal",
}


def chat_faults(example: JsonObject) -> Iterator[Fault]:
    """Every fault of one object of a chat file."""
    yield from key_faults(example, "", required=["messages"], allowed=CHAT_KEYS)
    yield from companion_faults(example)
    if "messages" not in example:
        return
    messages = example["messages"]
    yield from list_faults(messages, "messages", names_declared(example.get("tools")))
    if isinstance(messages, list) and messages:
        yield from _learning_faults(messages)


def companion_faults(example: JsonObject) -> Iterator[Fault]:
    """`tools` and the like, which stand beside `messages` in chat examples and in the input of preferences."""
    if "tools" in example:
        yield from declaration_faults(example["tools"])
    if "functions" in example:
        yield fault(FaultKind.DEPRECATED, "functions", "is deprecated")
    if "parallel_tool_calls" in example and not isinstance(example["parallel_tool_calls"], bool):
        kind = kind_of(example["parallel_tool_calls"])
        yield fault(FaultKind.WRONG_TYPE, "parallel_tool_calls", f"is {kind}", mend="write true or false")


def list_faults(messages: Json, at: str, declared: frozenset[str]) -> Iterator[Fault]:
    """A list of messages, wherever it stands."""
    if not isinstance(messages, list):
        yield fault(FaultKind.WRONG_TYPE, at, f"is {kind_of(messages)}", mend="write a list of messages")
        return
    if not messages:
        yield fault(FaultKind.EMPTY_TEXT, at, "is an empty list", mend="write the messages")
        return
    has_tools = False
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            mend = 'write {"role": ..., "content": ...}'
            yield fault(FaultKind.WRONG_TYPE, f"{at}[{index}]", f"is {kind_of(message)}", mend=mend)
            continue
        has_tools = has_tools or "tool_calls" in message or message.get("role") == "tool"
        yield from message_faults(message, f"{at}[{index}]", declared)
    if has_tools:
        yield from answer_faults(messages, at)


def message_faults(message: JsonObject, at: str, declared: frozenset[str]) -> Iterator[Fault]:
    """One message, for itself."""
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        problem = "is missing" if "role" not in message else f"{_named(role)} is not a role"
        yield fault(FaultKind.ROLE, f"{at}.role", problem)
        return
    allowed = _KEYS_OF_ROLE[role]
    if not message.keys() <= allowed:
        yield from key_faults(message, at, required=[], allowed=allowed)
    yield from _content_faults(message, role, at)
    if "weight" in message:
        yield from _weight_faults(message["weight"], role, f"{at}.weight")
    if "name" in message:
        yield from text_faults(message["name"], f"{at}.name")
    if role == "assistant" and "tool_calls" in message:
        yield from call_faults(message["tool_calls"], f"{at}.tool_calls", declared)
    if role == "function" or "function_call" in message:
        key = "role" if role == "function" else "function_call"
        yield fault(FaultKind.DEPRECATED, f"{at}.{key}", "functions are deprecated")


def _content_faults(message: JsonObject, role: str, at: str) -> Iterator[Fault]:
    content = message.get("content")
    if isinstance(content, str) and content and not content.isspace():
        return
    if role == "assistant" and not content and ({"tool_calls", "function_call", "refusal"} & message.keys()):
        return
    if "content" not in message:
        yield fault(FaultKind.MISSING_KEY, f"{at}.content", "is missing", mend="add 'content'")
    elif isinstance(content, list):
        yield from _part_faults(content, role, f"{at}.content")
    elif not isinstance(content, str):
        mend = "write a string or a list of content parts"
        yield fault(FaultKind.WRONG_TYPE, f"{at}.content", f"is {kind_of(content)}", mend=mend)
    elif role not in ("tool", "function"):  # a tool may have nothing to say
        yield fault(FaultKind.EMPTY_TEXT, f"{at}.content", "is empty")


def _part_faults(parts: Sequence[Json], role: str, at: str) -> Iterator[Fault]:
    if not parts:
        yield fault(FaultKind.EMPTY_TEXT, at, "is an empty list")
    for index, part in enumerate(parts):
        here = f"{at}[{index}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _PART_TYPES:
            mend = 'write {"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": ...}}'
            yield fault(FaultKind.WRONG_TYPE, here, "is not a content part", mend=mend)
        elif kind == "image_url":
            yield from _image_faults(part.get("image_url"), role, f"{here}.image_url")
        elif kind != "input_audio":
            yield from text_faults(part.get(_PART_TYPES[kind]), f"{here}.{_PART_TYPES[kind]}")


def _image_faults(image: Json, role: str, at: str) -> Iterator[Fault]:
    if role != "user":
        yield fault(
            FaultKind.WRONG_TYPE, at, f"stands in a message of {role}", mend="put images into user messages only"
        )
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str) or not image["url"]:
        mend = 'write {"url": "https://..."} or a data: URL'
        yield fault(FaultKind.WRONG_TYPE, at, "has no url", mend=mend)


def _weight_faults(weight: Json, role: str, at: str) -> Iterator[Fault]:
    if role != "assistant":
        yield fault(
            FaultKind.WEIGHT, at, f"stands on a message of {role}", mend="remove it: only assistant messages have one"
        )
    elif isinstance(weight, bool) or weight not in (0, 1):
        yield fault(FaultKind.WEIGHT, at, "is not 0 or 1")


def _learning_faults(messages: Sequence[Json]) -> Iterator[Fault]:
    """Something of the assistant's must be there to be learned, and stand last."""
    spoken = [message for message in messages if isinstance(message, Mapping) and message.get("role") == "assistant"]
    if not spoken:
        yield fault(FaultKind.NO_ASSISTANT, "messages", "no message is the assistant's")
        return
    if messages[-1] is not spoken[-1]:
        last = messages[-1]
        role = _named(last.get("role") if isinstance(last, Mapping) else None)
        yield fault(FaultKind.LAST_ROLE, f"messages[{len(messages) - 1}].role", f"the last message is of {role}")
    if all(message.get("weight", 1) == 0 for message in spoken):
        yield fault(FaultKind.NOTHING_TO_LEARN, "messages", "every assistant message has weight 0")


def _named(role: Json) -> str:
    return repr(role[:40]) if isinstance(role, str) else kind_of(role)
