"""Reading a provider's raw answer: it never raises, and takes nothing for what it is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.answers import outcome_of, parse_completion, parse_usage
from tunemill.model import Completion, Usage

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
    max_leaves=6,
)


def nearly(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with these fields, some of them missing or of any other form; or something else altogether."""
    return st.one_of(JSON, st.fixed_dictionaries({}, optional={name: JSON | right for name, right in fields.items()}))


COUNT = st.integers(-5, 2**70)
USAGE = nearly(
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    prompt_tokens_details=nearly(cached_tokens=COUNT),
    completion_tokens_details=nearly(reasoning_tokens=COUNT),
)
MESSAGE = nearly(
    content=st.text() | st.lists(nearly(text=st.text())), refusal=st.text(), tool_calls=st.lists(JSON, max_size=2)
)
CHOICE = nearly(message=MESSAGE, text=st.text(), finish_reason=st.sampled_from(["stop", "length", "odd", ""]))
ANSWER = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(CHOICE, max_size=2) | JSON, "usage": USAGE, "model": st.text() | JSON}
)


@given(ANSWER)
def test_no_answer_raises(raw: dict[str, Any]) -> None:
    """Any JSON object is a completion of the right types, with an outcome of a closed set."""
    completion = parse_completion(raw, "req")
    assert isinstance(completion.text, str)
    assert completion.finish_reason
    assert completion.refusal is None or completion.refusal
    assert not isinstance(completion.tool_calls, str)
    known = {"stop", "length", "content_filter", "tool_calls", "function_call", "missing", "other", "refusal", "empty"}
    assert outcome_of(completion) in known


@given(USAGE)
def test_usage_is_whole_or_nothing(raw: Any) -> None:
    """Both counts or None, never a guess of zero; parts never exceed what they are part of."""
    usage = parse_usage(raw)
    if usage is not None:
        assert 0 <= usage.cached_input <= usage.input == raw["prompt_tokens"]
        assert 0 <= usage.reasoning <= usage.output == raw["completion_tokens"]


@pytest.mark.parametrize(
    ("raw", "completion"),
    [
        ({}, Completion(text="", finish_reason="missing")),
        ({"choices": []}, Completion(text="", finish_reason="missing")),
        (
            {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "model": "m-1"},
            Completion(text="Hi", finish_reason="stop", model="m-1"),
        ),
        ({"choices": [{"text": " END", "finish_reason": "length"}]}, Completion(text=" END", finish_reason="length")),
        (
            {"choices": [{"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}]},
            Completion(text="", finish_reason="stop", refusal="I cannot."),
        ),
        (
            {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, {"x": 1}, 5]}}]},
            Completion(text="ab", finish_reason="missing"),
        ),
        (
            {"choices": [{"message": {"tool_calls": [{"id": "t"}]}, "finish_reason": "tool_calls"}]},
            Completion(text="", finish_reason="tool_calls", tool_calls=[{"id": "t"}]),
        ),
    ],
)
def test_what_is_read(raw: dict[str, Any], completion: Completion) -> None:
    """The first choice, chat or legacy, with what is there of it."""
    assert parse_completion(raw) == completion


@pytest.mark.parametrize(
    "raw",
    [None, {}, {"prompt_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": True}, [1, 2]],
)
def test_usage_that_makes_no_sense_was_not_sent(raw: Any) -> None:
    """Missing, negative or of another type: None, so that the worst case counts."""
    assert parse_usage(raw) is None


def test_details_that_make_no_sense_are_zero() -> None:
    """Cached and reasoning tokens are parts of counts that stand."""
    usage = parse_usage({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}})
    assert usage == Usage(input=3, output=2, cached_input=3)


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        (Completion(text="x", finish_reason="stop"), "stop"),
        (Completion(text=" \n", finish_reason="stop"), "empty"),
        (Completion(text="", finish_reason="content_filter"), "content_filter"),
        (Completion(text="", finish_reason="tool_calls", tool_calls=[{}]), "tool_calls"),
        (Completion(text="x", finish_reason="stop", refusal="no"), "refusal"),
        (Completion(text="x", finish_reason="eos_token"), "other"),
    ],
)
def test_one_word_for_metrics(completion: Completion, outcome: str) -> None:
    """Labels come from a closed set."""
    assert outcome_of(completion) == outcome
