"""What `check` says of one example: the kind, the field and a mend, for every fault that targets know."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.dataset.check.faults import Fault, FaultKind, Severity
from tunemill.dataset.check.kinds import TrainFormat, characters_of, example_faults, formats_of, prompt_of
from tunemill.dataset.check.secrets import secret_faults
from tunemill.model import Json

USER = {"role": "user", "content": "Hi"}
SAYS = {"role": "assistant", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
CALLS = {"role": "assistant", "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
TEXT_PART = {"type": "text", "text": "look"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def found(example: Any, of: TrainFormat = TrainFormat.CHAT) -> list[tuple[str, str]]:
    return [(fault.kind.code, fault.field) for fault in example_faults(example, of)]


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


@pytest.mark.parametrize(
    "example",
    [
        chat(USER, SAYS),
        chat({"role": "system", "content": "Be kind."}, USER, SAYS, USER, {**SAYS, "weight": 1}),
        chat({"role": "developer", "content": "Be kind."}, USER, {**SAYS, "weight": 0}, USER, SAYS),
        chat({"role": "user", "content": [TEXT_PART, IMAGE_PART]}, SAYS),
        chat(USER, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "name": "Bo"}),
        chat(USER, {"role": "assistant", "content": None, "refusal": "I can't."}),
        chat(USER, CALLS, tools=[TOOL]),
        chat(USER, {**CALLS, "content": None}, tools=[TOOL], parallel_tool_calls=False),
        chat(USER, CALLS, ANSWER, SAYS, tools=[TOOL]),
        chat(USER, CALLS, {**ANSWER, "content": ""}, SAYS, tools=[TOOL]),
    ],
)
def test_a_sound_chat_example_has_no_fault(example: dict[str, Any]) -> None:
    """Turns, weights, parts, refusals and tools, as targets accept them."""
    assert found(example) == []


@pytest.mark.parametrize(
    ("example", "faults"),
    [
        ({"tools": [TOOL]}, [("missing_key", "messages")]),
        (chat(USER, SAYS, prompt="x"), [("unknown_key", "prompt")]),
        ({"messages": "Hi"}, [("wrong_type", "messages")]),
        (chat(), [("empty_text", "messages")]),
        (chat("Hi", SAYS), [("wrong_type", "messages[0]")]),
        (chat({"content": "Hi"}, SAYS), [("unknown_role", "messages[0].role")]),
        (chat({"role": "usr", "content": "Hi"}, SAYS), [("unknown_role", "messages[0].role")]),
        (chat({"role": ["user"], "content": "Hi"}, SAYS), [("unknown_role", "messages[0].role")]),
        (chat({**USER, "contents": "x"}, SAYS), [("unknown_key", "messages[0].contents")]),
        (chat({**USER, "tool_calls": []}, SAYS), [("unknown_key", "messages[0].tool_calls")]),
        (chat({"role": "user"}, SAYS), [("missing_key", "messages[0].content")]),
        (chat({"role": "user", "content": None}, SAYS), [("wrong_type", "messages[0].content")]),
        (chat({"role": "user", "content": 3}, SAYS), [("wrong_type", "messages[0].content")]),
        (chat({"role": "user", "content": " \n"}, SAYS), [("empty_text", "messages[0].content")]),
        (chat({"role": "user", "content": []}, SAYS), [("empty_text", "messages[0].content")]),
        (chat({"role": "user", "content": ["x"]}, SAYS), [("wrong_type", "messages[0].content[0]")]),
        (chat({"role": "user", "content": [{"type": "gif"}]}, SAYS), [("wrong_type", "messages[0].content[0]")]),
        (
            chat({"role": "user", "content": [{"type": "text"}]}, SAYS),
            [("wrong_type", "messages[0].content[0].text")],
        ),
        (
            chat({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, SAYS),
            [("wrong_type", "messages[0].content[0].image_url")],
        ),
        (
            chat(USER, {"role": "assistant", "content": [IMAGE_PART]}),
            [("wrong_type", "messages[1].content[0].image_url")],
        ),
        (chat({**USER, "name": 3}, SAYS), [("wrong_type", "messages[0].name")]),
        (chat(USER), [("no_assistant", "messages")]),
        (chat(USER, SAYS, USER), [("last_not_assistant", "messages[2].role")]),
        (chat({**USER, "weight": 1}, SAYS), [("weight", "messages[0].weight")]),
        (chat(USER, {**SAYS, "weight": 2}), [("weight", "messages[1].weight")]),
        (chat(USER, {**SAYS, "weight": True}), [("weight", "messages[1].weight")]),
        (chat(USER, {**SAYS, "weight": 0.5}), [("weight", "messages[1].weight")]),
        (chat(USER, {**SAYS, "weight": 0}), [("nothing_to_learn", "messages")]),
        (chat(USER, SAYS, functions=[]), [("deprecated_key", "functions")]),
        (chat(USER, {**SAYS, "function_call": {}}), [("deprecated_key", "messages[1].function_call")]),
        (chat(USER, SAYS, parallel_tool_calls="no"), [("wrong_type", "parallel_tool_calls")]),
    ],
)
def test_each_fault_of_a_chat_example_is_found_in_its_place(example: Any, faults: list[tuple[str, str]]) -> None:
    """One fault, one finding, with the path of the field."""
    assert found(example) == faults


def calling(**call: Any) -> dict[str, Any]:
    return chat(USER, {"role": "assistant", "tool_calls": [{**CALL, **call}]}, tools=[TOOL])


@pytest.mark.parametrize(
    ("example", "faults"),
    [
        (chat(USER, SAYS, tools={}), [("tools", "tools")]),
        (chat(USER, SAYS, tools=[]), [("tools", "tools")]),
        (chat(USER, SAYS, tools=["look"]), [("tools", "tools[0]")]),
        (chat(USER, SAYS, tools=[{"type": "function"}]), [("tools", "tools[0]")]),
        (
            chat(USER, SAYS, tools=[{"type": "function", "function": {"name": "look up"}}]),
            [("tools", "tools[0].function.name")],
        ),
        (
            chat(
                USER, SAYS, tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "list"}}}]
            ),
            [("tools", "tools[0].function.parameters")],
        ),
        (chat(USER, {"role": "assistant", "tool_calls": []}, tools=[TOOL]), [("tool_call", "messages[1].tool_calls")]),
        (chat(USER, {"role": "assistant", "tool_calls": [3]}), [("tool_call", "messages[1].tool_calls[0]")]),
        (calling(id=""), [("tool_call", "messages[1].tool_calls[0].id")]),
        (calling(id=None), [("tool_call", "messages[1].tool_calls[0].id")]),
        (calling(type="tool"), [("tool_call", "messages[1].tool_calls[0].type")]),
        (calling(function={}), [("tool_call", "messages[1].tool_calls[0].function.name")]),
        (
            calling(function={"name": "look", "arguments": {"at": 1}}),
            [("tool_call", "messages[1].tool_calls[0].function.arguments")],
        ),
        (
            calling(function={"name": "look", "arguments": "at 1"}),
            [("tool_call", "messages[1].tool_calls[0].function.arguments")],
        ),
        (chat(USER, CALLS), [("tool_undeclared", "messages[1].tool_calls[0].function.name")]),
        (
            chat(USER, CALLS, {"role": "tool", "content": "x"}, SAYS, tools=[TOOL]),
            [("tool_answer", "messages[2].tool_call_id"), ("tool_call_unanswered", "messages[1].tool_calls[0].id")],
        ),
        (
            chat(USER, ANSWER, SAYS),
            [("tool_answer", "messages[1].tool_call_id")],
        ),
        (
            chat(USER, CALLS, USER, SAYS, tools=[TOOL]),
            [("tool_call_unanswered", "messages[1].tool_calls[0].id")],
        ),
        (
            chat(USER, CALLS, ANSWER, CALLS, ANSWER, SAYS, tools=[TOOL]),
            [("tool_call", "messages[3].tool_calls[0].id")],
        ),
    ],
)
def test_each_fault_of_tools_is_found_in_its_place(example: Any, faults: list[tuple[str, str]]) -> None:
    """Declarations, calls, and answers to calls."""
    assert found(example) == faults


@pytest.mark.parametrize(
    ("example", "faults"),
    [
        ({"prompt": "p", "completion": " c"}, []),
        ({"prompt": "", "completion": " c"}, []),
        ({"completion": " c"}, [("missing_key", "prompt")]),
        ({"prompt": "p"}, [("missing_key", "completion")]),
        ({"prompt": 3, "completion": " c"}, [("wrong_type", "prompt")]),
        ({"prompt": "p", "completion": None}, [("wrong_type", "completion")]),
        ({"prompt": "p", "completion": " "}, [("empty_text", "completion")]),
        ({"prompt": "p", "completion": "c"}, [("no_leading_space", "completion")]),
        ({"prompt": "p", "completion": " c", "id": 3}, [("unknown_key", "id")]),
    ],
)
def test_each_fault_of_a_completion_example_is_found(example: Any, faults: list[tuple[str, str]]) -> None:
    """Both keys, both strings, a leading space."""
    assert found(example, TrainFormat.COMPLETION) == faults


def preference(**changes: Any) -> dict[str, Any]:
    sound = {
        "input": {"messages": [USER]},
        "preferred_output": [SAYS],
        "non_preferred_output": [{**SAYS, "content": "Go away"}],
    }
    return {key: value for key, value in {**sound, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("example", "faults"),
    [
        (preference(), []),
        (preference(input={"messages": [USER], "tools": [TOOL], "parallel_tool_calls": True}), []),
        (preference(input=...), [("missing_key", "input")]),
        (preference(input=[USER]), [("wrong_type", "input")]),
        (preference(input={}), [("missing_key", "input.messages")]),
        (preference(input={"messages": []}), [("empty_text", "input.messages")]),
        (preference(input={"messages": [USER], "tool": []}), [("unknown_key", "input.tool")]),
        (preference(input={"messages": [USER], "tools": 3}), [("tools", "input.tools")]),
        (preference(input={"messages": [USER, SAYS]}), [("input_ends_with_assistant", "input.messages[1].role")]),
        (preference(input={"messages": [{"role": "user"}]}), [("missing_key", "input.messages[0].content")]),
        (preference(preferred_output=...), [("missing_key", "preferred_output")]),
        (preference(preferred_output=[]), [("one_output_message", "preferred_output")]),
        (preference(preferred_output=[SAYS, SAYS]), [("one_output_message", "preferred_output")]),
        (preference(preferred_output="Hello"), [("one_output_message", "preferred_output")]),
        (preference(preferred_output=[USER]), [("one_output_message", "preferred_output[0].role")]),
        (
            preference(preferred_output=[{**SAYS, "content": ""}]),
            [("empty_text", "preferred_output[0].content")],
        ),
        (preference(non_preferred_output=[SAYS]), [("outputs_equal", "non_preferred_output")]),
    ],
)
def test_each_fault_of_a_preference_example_is_found(example: Any, faults: list[tuple[str, str]]) -> None:
    """Input, and one assistant message in each output."""
    assert found(example, TrainFormat.PREFERENCE) == faults


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=4)
    | st.sampled_from(["user", "assistant", "tool"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "messages", "tool_calls", "tools", "function", "input", "weight", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    value=st.dictionaries(
        st.sampled_from(["messages", "tools", "prompt", "completion", "input", "preferred_output", "x"]), JSON
    ),
    of=st.sampled_from(TrainFormat),
)
def test_no_object_is_too_strange(value: dict[str, Json], of: TrainFormat) -> None:
    """Whatever the shape: faults, measures and prompts come out, and never an exception."""
    for fault in example_faults(value, of):
        assert fault.problem
        assert fault.mend
    assert characters_of(value, of) >= 0
    assert prompt_of(value, of)
    assert len(formats_of(value)) <= 3


def test_every_kind_of_fault_has_a_mend_and_a_code_of_its_own() -> None:
    """The list is closed, and no two kinds share a code."""
    assert len({kind.code for kind in FaultKind}) == len(FaultKind)
    assert all(kind.mend and isinstance(kind.severity, Severity) for kind in FaultKind)


def test_an_unknown_key_suggests_the_nearest_known_one() -> None:
    """A typing mistake is mended at a glance."""
    (fault,) = example_faults(chat({**USER, "nmae": "Bo"}, SAYS), TrainFormat.CHAT)
    assert str(fault) == "messages[0].nmae: is not a known key; did you mean 'name'? Otherwise remove it"


def secrets(text: str) -> list[Fault]:
    value: dict[str, Json] = {"messages": [{"role": "user", "content": text}]}
    return list(secret_faults(orjson.dumps(value), value))


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + "proj-abcdEFGH1234567890abcd",
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1" * 18,
        "xoxb-" + "1234567890-abc",
        "hf_" + "a" * 34,
        "AIza" + "b" * 35,
        "-----BEGIN RSA " + "PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_credential_is_named_and_never_echoed(secret: str) -> None:
    """A tuned model may say it to anybody; the report must not."""
    (fault,) = secrets(f"my key is {secret}, keep it")
    assert (fault.kind, fault.field) == (FaultKind.SECRET, "messages[0].content")
    assert secret[4:12] not in str(fault).removeprefix("-----BEGIN")


@pytest.mark.parametrize("text", ["task-oriented-dialogue-systems-are-here", "sk-short", "a ghp_x, AKIA, hf_"])
def test_ordinary_words_are_no_credentials(text: str) -> None:
    """Words that only begin like one."""
    assert secrets(text) == []
