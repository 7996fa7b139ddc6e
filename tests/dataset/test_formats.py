"""The lines that each format writes, and the names of what it refuses."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataset.dataset_support import candidate_of, candidate_with, compiled, names_of, row_of

from tunemill.dataset import Cleaner, Rejected, format_of
from tunemill.dataset.assemble import Assembler
from tunemill.dataset.check.kinds import TrainFormat, example_faults
from tunemill.dataset.formats import Example
from tunemill.errors import RecipeError
from tunemill.model import Candidate, Completion, Json
from tunemill.recipe.sections import (
    ChatTrain,
    CleanSection,
    CompletionTrain,
    PreferenceTrain,
    ReplaceRule,
    TrainSection,
)

CALL: Json = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOL: Json = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
COMPLETION = CompletionTrain(
    format="completion", prompt="About {{ topic }}", completion="{{ story }}", separator="\n\nPLOT:", stop=" END"
)
PREFERENCE = PreferenceTrain(
    format="preference", system="Be kind.", user="{{ topic }}", preferred="{{ story }}", non_preferred="{{ draft1 }}"
)


def assembled(
    train: TrainSection, candidate: Candidate, clean: CleanSection | None = None, tools: tuple[Json, ...] = ()
) -> Example | Rejected:
    to_format = format_of(train, compiled, tools=tools)
    return Assembler(cleaner=Cleaner(clean or CleanSection()), to_format=to_format, names=names_of).assemble(candidate)


def line_of(train: TrainSection, candidate: Candidate, **more: Any) -> Any:
    example = assembled(train, candidate, **more)
    assert isinstance(example, Example), example
    return orjson.loads(example.line)


def rule_of(train: TrainSection, candidate: Candidate, **more: Any) -> str:
    outcome = assembled(train, candidate, **more)
    assert isinstance(outcome, Rejected), outcome
    return outcome.rule


def test_a_chat_example_has_system_user_and_assistant() -> None:
    """The three templates become three messages, in order."""
    train = ChatTrain(system="Be brief.", user="Tell of {{ topic }}", assistant="{{ story }}")
    assert line_of(train, candidate_of(" A plot. ", row=row_of(topic="rain"))) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell of rain"},
            {"role": "assistant", "content": "A plot."},
        ]
    }


def test_a_template_that_cannot_be_rendered_rejects_the_row_by_name() -> None:
    """An undefined name in one row is that row's rejection, and the detail names the template."""
    outcome = assembled(ChatTrain(user="{{ nothing }}", assistant="{{ story }}"), candidate_of("x"))
    assert isinstance(outcome, Rejected)
    assert outcome.rule == "unrenderable"
    assert "train.user" in outcome.detail
    assert "nothing" in outcome.detail


def test_tool_calls_become_the_assistants_message_when_there_is_no_text() -> None:
    """The call is learned, with the tools that the step declared."""
    completion = Completion(text="", finish_reason="tool_calls", tool_calls=[CALL])
    train = ChatTrain(user="Look!", assistant="{{ story }}")
    line = line_of(train, candidate_with(completion), tools=(TOOL,))
    assert line["messages"][-1] == {"role": "assistant", "tool_calls": [CALL]}
    assert line["tools"] == [TOOL]
    assert list(example_faults(line, TrainFormat.CHAT)) == []


def test_only_chat_can_hold_a_tool_call() -> None:
    """For the other formats an answer without text is empty."""
    completion = Completion(text="", finish_reason="tool_calls", tool_calls=[CALL])
    assert rule_of(COMPLETION, candidate_with(completion)) == "empty"


def test_a_completion_example_has_separator_leading_space_and_stop() -> None:
    """The prompt ends with the separator; the completion starts with one space and ends with the stop sequence."""
    candidate = candidate_of("   A plot.", row=row_of(topic="rain"))
    expected = {"prompt": "About rain\n\nPLOT:", "completion": " A plot. END"}
    assert line_of(COMPLETION, candidate) == expected
    assert line_of(COMPLETION, candidate, clean=CleanSection(strip=False)) == expected


@pytest.mark.parametrize(
    ("topic", "story", "rule"),
    [
        ("a\n\nPLOT: b", "fine", "separator_in_text"),
        ("fine", "the\n\nPLOT: again", "separator_in_text"),
        ("fine", "the END is near", "stop_in_text"),
        ("fine", "END", "stop_in_text"),
    ],
)
def test_a_separator_or_stop_inside_a_text_rejects_by_name(topic: str, story: str, rule: str) -> None:
    """Whoever calls the model ends the prompt with the one and cuts at the other: both must stand at the end only."""
    assert rule_of(COMPLETION, candidate_of(story, row=row_of(topic=topic))) == rule


@given(topic=st.text(alphabet="ab\n#", max_size=12), story=st.text(alphabet="ab\n# E", max_size=12))
def test_completion_lines_can_be_taken_apart_again(topic: str, story: str) -> None:
    """Whatever the texts, a line that is kept has each mark exactly once, at the end."""
    train = CompletionTrain(
        format="completion", prompt="{{ topic }}", completion="{{ story }}", separator="\n##\n", stop=" E"
    )
    outcome = assembled(train, candidate_of(story, row=row_of(topic=topic)))
    if isinstance(outcome, Example):
        line = orjson.loads(outcome.line)
        assert line["prompt"].split("\n##\n") == [topic, ""]
        assert line["completion"].split(" E")[1:] == [""]
        assert line["completion"].startswith(" ")
        assert not line["completion"].startswith("  ")


def test_a_preference_example_has_input_and_two_outputs() -> None:
    """One assistant message in each output."""
    draft, story = (Completion(text=text, finish_reason="stop") for text in ("worse", "better"))
    line = line_of(PREFERENCE, candidate_with(draft, story, row=row_of(topic="rain")))
    assert line == {
        "input": {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "rain"}]},
        "preferred_output": [{"role": "assistant", "content": "better"}],
        "non_preferred_output": [{"role": "assistant", "content": "worse"}],
    }
    assert list(example_faults(line, TrainFormat.PREFERENCE)) == []


def test_a_preference_between_equals_is_rejected() -> None:
    """Two equal answers teach nothing."""
    same = Completion(text="same", finish_reason="stop")
    assert rule_of(PREFERENCE, candidate_with(same, same)) == "outputs_equal"


CONVERSATION: list[Json] = [
    {"role": "system", "content": "Be a pirate."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Arr", "weight": 0},
    {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    {"role": "assistant", "content": " Ahoy! ", "weight": 1},
]
MESSAGES = ChatTrain(messages="messages")


def test_conversations_that_rows_hold_are_kept_as_they_are() -> None:
    """Turns, parts, weights and tools stay; the last text alone is mended."""
    row = row_of(messages=CONVERSATION, tools=[TOOL], parallel_tool_calls=False, note="not part of it")
    line = line_of(MESSAGES, candidate_of(row=row))
    assert line["messages"][:-1] == CONVERSATION[:-1]
    assert line["messages"][-1] == {"role": "assistant", "content": "Ahoy!", "weight": 1}
    assert line["tools"] == [TOOL]
    assert line["parallel_tool_calls"] is False
    assert set(line) == {"messages", "tools", "parallel_tool_calls"}


def test_conversations_may_stand_in_a_table_as_text() -> None:
    """A field that is text is read as JSON; empty companions are none."""
    row = row_of(messages=orjson.dumps(CONVERSATION).decode(), tools="")
    assert "tools" not in line_of(MESSAGES, candidate_of(row=row))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "unrenderable"),
        ({"messages": "{"}, "invalid_messages"),
        ({"messages": ""}, "invalid_messages"),
        ({"messages": []}, "invalid_messages"),
        ({"messages": {"role": "user"}}, "invalid_messages"),
        ({"messages": ["hello"]}, "invalid_messages"),
        ({"messages": [*CONVERSATION, {"role": "user", "content": "more"}]}, "invalid_messages"),
        ({"messages": [{"role": "usr", "content": "x"}, *CONVERSATION]}, "invalid_messages"),
        ({"messages": [*CONVERSATION[:-1], {"role": "assistant", "content": ""}]}, "empty"),
        ({"messages": [*CONVERSATION[:-1], {"role": "assistant"}]}, "empty"),
        ({"messages": CONVERSATION, "tools": {}}, "invalid_messages"),
        ({"messages": CONVERSATION, "tools": "["}, "invalid_messages"),
    ],
)
def test_broken_conversations_are_rejected_by_name(fields: dict[str, Json], rule: str) -> None:
    """What a target would refuse never reaches a file."""
    assert rule_of(MESSAGES, candidate_of(row=row_of(**fields))) == rule


def test_a_recipe_without_steps_mends_the_learned_text() -> None:
    """strip and replace apply to the rendered text, because nothing was generated before."""
    clean = CleanSection(replace=[ReplaceRule(pattern="^Answer: ", with_="")])
    train = ChatTrain(user="{{ q }}", assistant="{{ a }}")
    line = line_of(train, candidate_of(row=row_of(q="Why?", a="  Answer: because")), clean=clean)
    assert line["messages"][-1]["content"] == "because"


def test_half_a_surrogate_pair_rejects_the_row_by_name() -> None:
    """JSON in UTF-8 cannot hold it."""
    assert rule_of(ChatTrain(assistant="{{ story }}"), candidate_of("a\ud800b")) == "not_json"


@pytest.mark.parametrize(
    ("train", "key"),
    [(ChatTrain(), "train.assistant"), (ChatTrain(messages="m", user="x"), "train.messages")],
)
def test_a_chat_section_names_what_it_learns(train: ChatTrain, key: str) -> None:
    """Either an assistant template or a field with messages, not both and not neither."""
    with pytest.raises(RecipeError) as caught:
        format_of(train, compiled)
    assert caught.value.key == key
