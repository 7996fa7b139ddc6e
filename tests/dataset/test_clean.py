"""The rules of `[clean]`: each by its name, and in the order that is promised."""

from typing import Any

import pytest
from tests.dataset.dataset_support import candidate_of, candidate_with

from tunemill.dataset import Cleaner, Rejected
from tunemill.errors import RecipeError
from tunemill.model import Completion, Json
from tunemill.recipe.sections import CleanSection, RejectRule, ReplaceRule

CALL: Json = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def cleaner(**section: Any) -> Cleaner:
    return Cleaner(CleanSection(**section))


def rule_of(*completions: Completion, **section: Any) -> str:
    verdict = cleaner(**section).judge_completions(candidate_with(*completions))
    return verdict.rule if isinstance(verdict, Rejected) else "kept"


@pytest.mark.parametrize(
    ("completion", "rule"),
    [
        (Completion(text="half", finish_reason="content_filter"), "content_filter"),
        (Completion(text="", finish_reason="content_filter"), "content_filter"),
        (Completion(text="", finish_reason="stop", refusal="I can't"), "refusal"),
        (Completion(text="", finish_reason="stop", refusal=""), "refusal"),
        (Completion(text="No.", finish_reason="refusal"), "refusal"),
        (Completion(text="", finish_reason="stop"), "empty"),
        (Completion(text=" \n\t", finish_reason="stop"), "empty"),
        (Completion(text="", finish_reason="missing"), "empty"),
        (Completion(text="", finish_reason="length"), "empty"),
        (Completion(text="half", finish_reason="length"), "finish_reason"),
        (Completion(text="half", finish_reason="missing"), "finish_reason"),
        (Completion(text="whole", finish_reason="stop"), "kept"),
        (Completion(text="", finish_reason="tool_calls", tool_calls=[CALL]), "kept"),
    ],
)
def test_each_completion_is_judged_by_the_first_rule_that_objects(completion: Completion, rule: str) -> None:
    """content_filter, refusal, empty and finish_reason are asked in this order."""
    assert rule_of(completion) == rule


def test_an_earlier_step_is_judged_like_the_last_and_named() -> None:
    """A cut-off draft spoils the story that was made of it, and the detail names the step and the reason."""
    draft = Completion(text="half a draft", finish_reason="length")
    verdict = cleaner().judge_completions(candidate_with(draft, Completion(text="story", finish_reason="stop")))
    assert isinstance(verdict, Rejected)
    assert (verdict.rule, verdict.step) == ("finish_reason", "draft1")
    assert verdict.detail == "step 'draft1' ended with 'length'; finish_reasons allows stop, tool_calls"


def test_finish_reasons_are_the_recipes_to_choose() -> None:
    """A recipe that allows length keeps cut-off answers."""
    assert rule_of(Completion(text="half", finish_reason="length"), finish_reasons=["stop", "length"]) == "kept"


def test_texts_are_stripped_replaced_in_order_and_stripped_again() -> None:
    """A replacement that lays bare white space leaves none behind."""
    rules = [ReplaceRule(pattern=r"^Feedback:", with_=""), ReplaceRule(pattern="(good) (bad)", with_=r"\2 \1")]
    verdict = cleaner(replace=rules).judge_completions(candidate_of("  Feedback:  good bad\n"))
    assert verdict == {"story": "bad good"}


def test_without_strip_texts_keep_their_white_space() -> None:
    """strip = false leaves texts as they came."""
    assert cleaner(strip=False).judge_completions(candidate_of(" a ")) == {"story": " a "}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("  ", "empty"),
        ("coming soon", "placeholder"),
        ("Coming soon: sorry", "placeholder"),
        ("sorry", "apology"),
        ("ab", "too_short"),
        ("abcdefghijk" * 10, "too_long"),
        ("abc", "kept"),
        ("é" * 100, "kept"),
    ],
)
def test_the_learned_text_is_judged_in_order(text: str, rule: str) -> None:
    """empty, the recipe's own rules in order, too_short, too_long; lengths are characters."""
    rules = [RejectRule(name="placeholder", matches="(?i)coming soon"), RejectRule(name="apology", matches="sorry")]
    objection = cleaner(reject=rules, min_chars=3, max_chars=100).judge_target(text)
    assert (objection.rule if objection else "kept") == rule


def test_a_tool_call_needs_no_text() -> None:
    """empty and too_short do not object to an answer that is a tool call."""
    assert cleaner(min_chars=50).judge_target("", is_tool_call=True) is None


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"replace": [ReplaceRule(pattern="(", with_="")]}, "clean.replace[0].pattern"),
        ({"replace": [ReplaceRule(pattern="a", with_=r"\1")]}, "clean.replace[0].with"),
        ({"replace": [ReplaceRule(pattern="a", with_=r"\g<b>")]}, "clean.replace[0].with"),
        ({"reject": [RejectRule(name="x", matches="[")]}, "clean.reject[0].matches"),
    ],
)
def test_a_malformed_expression_is_the_recipes_mistake(section: dict[str, Any], key: str) -> None:
    """The message names the key and the value."""
    with pytest.raises(RecipeError) as caught:
        cleaner(**section)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key} = ")
