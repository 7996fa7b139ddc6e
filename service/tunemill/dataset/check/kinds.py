"""The three formats as `check` sees them: how to tell them apart, what to measure, what is a prompt."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

import orjson

from tunemill.dataset.check.chat import CHAT_KEYS, chat_faults
from tunemill.dataset.check.faults import Fault
from tunemill.dataset.check.other import COMPLETION_KEYS, PREFERENCE_KEYS, completion_faults, preference_faults
from tunemill.dataset.check.texts import objects_in, text_of_message
from tunemill.model import Json, JsonObject


class TrainFormat(Enum):
    """The formats of fine-tune files."""

    CHAT = "chat"
    COMPLETION = "completion"
    PREFERENCE = "preference"


def formats_of(example: JsonObject) -> frozenset[TrainFormat]:
    """The formats that an object has keys of: one for a sound example."""
    return frozenset(of for key in example if (of := _FORMAT_OF_KEY.get(key)) is not None)


def example_faults(example: JsonObject, of: TrainFormat) -> Iterator[Fault]:
    """Every fault of one example of a format."""
    return _FAULTS[of](example)


def messages_of(example: JsonObject, of: TrainFormat) -> list[JsonObject]:
    """All messages of a chat or preference example, in order; none of a completion example."""
    match of:
        case TrainFormat.CHAT:
            return list(objects_in(example.get("messages")))
        case TrainFormat.PREFERENCE:
            outputs = [*objects_in(example.get("preferred_output")), *objects_in(example.get("non_preferred_output"))]
            return [*objects_in(_input_of(example)), *outputs]
        case TrainFormat.COMPLETION:
            return []


def characters_of(example: JsonObject, of: TrainFormat) -> int:
    """How much text a model reads in an example: messages or prompt and completion, and declared tools."""
    if of is TrainFormat.COMPLETION:
        return sum(len(text) for key in COMPLETION_KEYS if isinstance(text := example.get(key), str))
    given = example.get("input") if of is TrainFormat.PREFERENCE else example
    tools = given.get("tools") if isinstance(given, Mapping) else None
    declared = len(orjson.dumps(tools)) if tools else 0
    return declared + sum(len(text_of_message(message)) for message in messages_of(example, of))


def prompt_of(example: JsonObject, of: TrainFormat) -> bytes:
    """The prompt side in canonical bytes: equal prompts, equal bytes, whatever the order of keys in the file."""
    prompt: Json
    match of:
        case TrainFormat.CHAT:
            prompt = list(objects_in(example.get("messages")))[:-1]
        case TrainFormat.PREFERENCE:
            prompt = _input_of(example)
        case TrainFormat.COMPLETION:
            prompt = example.get("prompt")
    return canonical(prompt)


def canonical(value: Json) -> bytes:
    """JSON with sorted keys: equal values, equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _input_of(example: JsonObject) -> Json:
    given = example.get("input")
    return given.get("messages") if isinstance(given, Mapping) else None


_FAULTS: Mapping[TrainFormat, Callable[[JsonObject], Iterator[Fault]]] = {
    TrainFormat.CHAT: chat_faults,
    TrainFormat.COMPLETION: completion_faults,
    TrainFormat.PREFERENCE: preference_faults,
}
_FORMAT_OF_KEY = (
    dict.fromkeys(CHAT_KEYS, TrainFormat.CHAT)
    | dict.fromkeys(COMPLETION_KEYS, TrainFormat.COMPLETION)
    | dict.fromkeys(PREFERENCE_KEYS, TrainFormat.PREFERENCE)
)
