"""Faults of one completion example and of one preference example. Pure: an object in, faults out."""

from collections.abc import Iterator, Mapping

from tunemill.dataset.check.chat import companion_faults, list_faults, message_faults
from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.dataset.check.shapes import joined, key_faults, kind_of, text_faults
from tunemill.dataset.check.tools import names_declared
from tunemill.model import Json, JsonObject

COMPLETION_KEYS = ("prompt", "completion")
PREFERENCE_KEYS = ("input", "preferred_output", "non_preferred_output")

_INPUT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls"})


def completion_faults(example: JsonObject) -> Iterator[Fault]:
    """`prompt` (which may be empty) and `completion`, both strings."""
    yield from key_faults(example, "", required=COMPLETION_KEYS, allowed=COMPLETION_KEYS)
    if "prompt" in example:
        yield from text_faults(example["prompt"], "prompt", may_be_empty=True)
    completion = example.get("completion", " ")
    if "completion" in example:
        yield from text_faults(completion, "completion")
    if isinstance(completion, str) and completion.strip() and not completion.startswith(" "):
        yield fault(FaultKind.LEADING_SPACE, "completion", "does not start with a space")


def preference_faults(example: JsonObject) -> Iterator[Fault]:
    """`input` with messages, and one assistant message in each of the two outputs."""
    yield from key_faults(example, "", required=PREFERENCE_KEYS, allowed=PREFERENCE_KEYS)
    given = example.get("input")
    declared = names_declared(given.get("tools")) if isinstance(given, Mapping) else frozenset[str]()
    if "input" in example:
        yield from _input_faults(given, declared)
    for key in PREFERENCE_KEYS[1:]:
        if key in example:
            yield from _output_faults(example[key], key, declared)
    if "preferred_output" in example and example["preferred_output"] == example.get("non_preferred_output"):
        yield fault(FaultKind.OUTPUTS_EQUAL, "non_preferred_output", "is the same as preferred_output")


def _input_faults(given: Json, declared: frozenset[str]) -> Iterator[Fault]:
    if not isinstance(given, Mapping):
        yield fault(FaultKind.WRONG_TYPE, "input", f"is {kind_of(given)}", mend='write {"messages": [...]}')
        return
    yield from key_faults(given, "input", required=["messages"], allowed=_INPUT_KEYS)
    for found in companion_faults(given):
        yield fault(found.kind, joined("input", found.field), found.problem, mend=found.mend)
    if "messages" not in given:
        return
    messages = given["messages"]
    yield from list_faults(messages, "input.messages", declared)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, Mapping) and last.get("role") == "assistant":
        assert isinstance(messages, list)
        at = f"input.messages[{len(messages) - 1}].role"
        yield fault(FaultKind.INPUT_LAST, at, "the last message is the assistant's")


def _output_faults(output: Json, at: str, declared: frozenset[str]) -> Iterator[Fault]:
    if not isinstance(output, list) or len(output) != 1 or not isinstance(output[0], Mapping):
        what = f"has {len(output)} entries" if isinstance(output, list) else f"is {kind_of(output)}"
        yield fault(FaultKind.ONE_OUTPUT, at, what)
        return
    message = output[0]
    if message.get("role") != "assistant":
        yield fault(FaultKind.ONE_OUTPUT, f"{at}[0].role", "is not the assistant's")
        return
    yield from message_faults(message, f"{at}[0]", declared)
