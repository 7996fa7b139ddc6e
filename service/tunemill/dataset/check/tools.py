"""Faults of tools: their declarations, their calls and the answers to the calls. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

import orjson

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.dataset.check.shapes import kind_of
from tunemill.dataset.check.texts import objects_in
from tunemill.model import Json

_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def declaration_faults(tools: Json) -> Iterator[Fault]:
    """The example's `tools`: a list of functions, each with a name and a JSON schema of its parameters."""
    if not isinstance(tools, list) or not tools:
        what = "is an empty list" if isinstance(tools, list) else f"is {kind_of(tools)}"
        yield fault(FaultKind.TOOLS, "tools", what)
        return
    for index, tool in enumerate(tools):
        yield from _one_declaration(tool, f"tools[{index}]")


def _one_declaration(tool: Json, at: str) -> Iterator[Fault]:
    if not isinstance(tool, Mapping) or tool.get("type") != "function" or not isinstance(tool.get("function"), Mapping):
        yield fault(FaultKind.TOOLS, at, "is not a function's declaration")
        return
    function = tool["function"]
    assert isinstance(function, Mapping)
    if not _is_name(function.get("name")):
        yield fault(FaultKind.TOOLS, f"{at}.function.name", "is not a name", mend="use 1 to 64 letters, digits, _ or -")
    parameters = function.get("parameters", {"type": "object"})
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        mend = 'write a JSON schema: {"type": "object", "properties": {...}}'
        yield fault(FaultKind.TOOLS, f"{at}.function.parameters", "is not the schema of an object", mend=mend)


def call_faults(calls: Json, at: str, declared: frozenset[str]) -> Iterator[Fault]:
    """One assistant message's `tool_calls`."""
    if not isinstance(calls, list) or not calls:
        what = "is an empty list" if isinstance(calls, list) else f"is {kind_of(calls)}"
        yield fault(FaultKind.TOOL_CALL, at, what, mend="write a list with at least one call, or leave the key out")
        return
    for index, call in enumerate(calls):
        yield from _one_call(call, f"{at}[{index}]", declared)


def _one_call(call: Json, at: str, declared: frozenset[str]) -> Iterator[Fault]:
    if not isinstance(call, Mapping):
        yield fault(FaultKind.TOOL_CALL, at, f"is {kind_of(call)}")
        return
    if not isinstance(call.get("id"), str) or not call["id"]:
        yield fault(
            FaultKind.TOOL_CALL, f"{at}.id", "is missing or not a string", mend="give each call an id of its own"
        )
    if call.get("type") != "function":
        yield fault(FaultKind.TOOL_CALL, f"{at}.type", 'is not "function"', mend='write "type": "function"')
    function = call.get("function")
    if not isinstance(function, Mapping) or not _is_name(function.get("name")):
        mend = "write a name of 1 to 64 letters, digits, _ or -"
        yield fault(FaultKind.TOOL_CALL, f"{at}.function.name", "is missing or not a name", mend=mend)
        return
    yield from _argument_faults(function.get("arguments"), f"{at}.function.arguments")
    if function["name"] not in declared:
        yield fault(FaultKind.TOOL_UNDECLARED, f"{at}.function.name", "is not among the example's tools")


def _argument_faults(arguments: Json, at: str) -> Iterator[Fault]:
    if not isinstance(arguments, str):
        mend = "write the arguments as a string that holds JSON"
        yield fault(FaultKind.TOOL_CALL, at, f"is {kind_of(arguments)}", mend=mend)
        return
    try:
        is_object = isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        is_object = False
    if not is_object:
        yield fault(FaultKind.TOOL_CALL, at, "is not a JSON object in a string", mend='write it as "{\\"name\\": ...}"')


def answer_faults(messages: Sequence[Json], at: str) -> Iterator[Fault]:
    """Each tool message answers a call made before it; each call is answered before somebody else speaks.

    The calls of the last message need no answer: they are what is learned.
    """
    open_calls: dict[str, str] = {}
    called: set[str] = set()
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            continue
        if message.get("role") == "tool":
            yield from _one_answer(message.get("tool_call_id"), f"{at}[{index}].tool_call_id", called)
            open_calls.pop(str(message.get("tool_call_id")), None)
            continue
        yield from _unanswered(open_calls)
        calls = enumerate(objects_in(message.get("tool_calls")))
        field = f"{at}[{index}].tool_calls"
        open_calls = {str(call["id"]): f"{field}[{number}].id" for number, call in calls if call.get("id")}
        for identifier in open_calls.keys() & called:
            mend = "give each call an id of its own"
            yield fault(FaultKind.TOOL_CALL, open_calls[identifier], "the id was used before", mend=mend)
        called |= open_calls.keys()
    if messages and isinstance(messages[-1], Mapping) and messages[-1].get("role") == "tool":
        yield from _unanswered(open_calls)


def _unanswered(open_calls: Mapping[str, str]) -> Iterator[Fault]:
    for field in open_calls.values():
        yield fault(FaultKind.TOOL_UNANSWERED, field, "no tool message answers this call")


def _one_answer(identifier: Json, field: str, called: set[str]) -> Iterator[Fault]:
    if not isinstance(identifier, str) or not identifier:
        yield fault(FaultKind.TOOL_ANSWER, field, "is missing or not a string")
    elif identifier not in called:
        yield fault(FaultKind.TOOL_ANSWER, field, "answers no earlier call")


def names_declared(tools: Json) -> frozenset[str]:
    """The functions that an example declares."""
    functions = (tool.get("function") for tool in objects_in(tools))
    return frozenset(str(function.get("name")) for function in functions if isinstance(function, Mapping))


def _is_name(value: Json) -> bool:
    return isinstance(value, str) and _FUNCTION_NAME.fullmatch(value) is not None
