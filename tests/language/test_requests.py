"""Requests: what is sent, what its id depends on, and that its bounds are bounds."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tunemill.model import Lane, Request
from tunemill.plan import Planner, StepRenderer, Unsendable
from tunemill.plan.requests import output_tokens_max
from tunemill.recipe import Recipe
from tunemill.recipe.sections import StepSection
from tunemill.sources import row_of

ROW = row_of({"genre": "horror", "place": "India"})
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def step(prompt: str = "Plot a {{ genre }} film.", **rest: Any) -> StepSection:
    """A step with this prompt."""
    return StepSection.model_validate({"name": "outline", "model": "gpt-4o-mini", "prompt": prompt, **rest})


def outcome(section: StepSection, sample: int = 0, texts: Mapping[str, str] | None = None) -> Request | Unsendable:
    """What becomes of the row under this step."""
    return StepRenderer(section, position=0, seed=7).render(ROW, sample, texts or {})


def request(section: StepSection, sample: int = 0, texts: Mapping[str, str] | None = None) -> Request:
    """The request, where there must be one."""
    made = outcome(section, sample, texts)
    assert isinstance(made, Request), made
    return made


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (step("{{ director }}"), "steps[0].prompt: 'director' is undefined"),
        (step("x", system="{{ director }}"), "steps[0].system: 'director' is undefined"),
        (step("{{ genre | int / 0 }}"), "steps[0].prompt: division by zero"),
        (step("{% if genre == 'western' %}Plot it.{% endif %} "), "steps[0].prompt: the prompt is empty for this row"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_never_sent(section: StepSection, message: str) -> None:
    """It has an id of its own, the same at every restart, and says which template failed and why."""
    made = outcome(section, sample=1)
    assert isinstance(made, Unsendable)
    assert made.message == message
    assert made == outcome(section, sample=1)
    assert made.id != getattr(outcome(section, sample=2), "id", None)
    assert (made.row_id, made.step, made.sample, made.lane) == (ROW.id, "outline", 1, Lane("", "gpt-4o-mini"))


def test_a_chat_request_is_exactly_these_bytes() -> None:
    """Canonical JSON: keys sorted, nothing between them, parameters as they are in the recipe."""
    made = request(step(system="Be a novelist.", params={"temperature": 1.0, "stop": ["END"], "max_tokens": 100}))
    assert made.path == "/chat/completions"
    assert made.body == (
        b'{"max_tokens":100,"messages":[{"content":"Be a novelist.","role":"system"},'
        b'{"content":"Plot a horror film.","role":"user"}],"model":"gpt-4o-mini","stop":["END"],"temperature":1.0}'
    )


def test_a_completions_request_has_a_prompt_and_no_messages() -> None:
    """The older endpoint has its own path."""
    made = request(step(endpoint="completions", provider="judge"))
    assert made.path == "/completions"
    assert made.body == b'{"model":"gpt-4o-mini","prompt":"Plot a horror film."}'
    assert made.lane == Lane("judge", "gpt-4o-mini")


def test_an_id_is_the_same_in_every_process() -> None:
    """The figure is fixed: another one would have every answer paid again."""
    assert request(step("{{ entropy }} {{ genre }}"), sample=3).id == "c1faf297ad421c232c5cb86e61c0ee6d"


def test_an_id_changes_with_everything_that_is_sent_and_with_the_sample() -> None:
    """Model, parameters, texts, endpoint and sample count; the step's name and the provider do not."""
    same = {request(step()).id, request(step(name="other")).id, request(step(provider="judge")).id}
    others = {
        request(step(), sample=1).id,
        request(step(model="gpt-4o")).id,
        request(step(params={"temperature": 0.5})).id,
        request(step(system="x")).id,
        request(step(endpoint="completions")).id,
        request(step("Plot a {{ genre }} film!")).id,
    }
    assert len(same) == 1
    assert len(others) == 6
    assert not same & others


def test_later_steps_read_the_texts_of_earlier_ones() -> None:
    """A text stands in the prompt as it is, also where it looks like a template."""
    made = request(step("Expand: {{ outline }}", name="expanded"), texts={"outline": "{{ genre }}\n<é>"})
    assert orjson.loads(made.body)["messages"][0]["content"] == "Expand: {{ genre }}\n<é>"


def test_a_planner_has_a_renderer_for_every_step() -> None:
    """By position, with the seed of the recipe's source."""
    steps: list[JsonValue] = [
        {"name": "a", "model": "m", "prompt": "{{ x }} {{ entropy }}", "samples": 2},
        {"name": "b", "model": "m", "prompt": "{{ a }}"},
    ]
    recipe = Recipe.model_validate(
        {"name": "r", "source": {"kind": "grid", "axes": {"x": [1]}, "seed": 3}, "steps": steps}
    )
    planner = Planner(recipe)
    row = row_of({"x": 1})
    first, other = planner.render(0, row, 0, {}), planner.render(0, row, 1, {})
    assert isinstance(first, Request)
    assert isinstance(other, Request)
    assert first.body != other.body
    second = planner.render(1, row, 1, {"a": "text"})
    assert isinstance(second, Request)
    assert (second.step, second.sample) == ("b", 1)
    assert planner.chain.counts == (2, 2)


@given(TEXTS, TEXTS)
def test_the_input_bound_is_at_least_the_bytes_of_all_texts(prompt: str, system: str) -> None:
    """A byte-level tokenizer makes no more tokens than there are bytes; framing is counted for each message."""
    made = outcome(step("{{ outline }}", system="{{ genre }} {{ other }}"), texts={"outline": prompt, "other": system})
    if isinstance(made, Request):
        assert made.input_tokens_max >= len(prompt.encode()) + len(system.encode()) + 2 * 4 + 3


@pytest.mark.parametrize(
    ("params", "bound"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 100}, 100),
        ({"max_tokens": 100, "max_completion_tokens": 200}, 200),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 1, "best_of": 4}, 400),
    ],
)
def test_the_output_bound_is_that_of_all_choices(params: dict[str, JsonValue], bound: int | None) -> None:
    """None where nothing bounds the answer, which a budget does not permit."""
    assert output_tokens_max(params) == bound
    assert request(step(params=params)).output_tokens_max == bound


def test_tools_are_allowed_for_in_the_input_bound() -> None:
    """Providers put words of their own before tools."""
    plain = request(step(params={"user": "x"}))
    with_tools = request(step(params={"tools": []}))
    assert with_tools.input_tokens_max - len(with_tools.body) == plain.input_tokens_max - len(plain.body) + 1024


def test_the_expected_input_counts_the_texts_alone() -> None:
    """Parameters are not billed: a long schema does not inflate the estimate."""
    renderer = StepRenderer(step("{{ outline }}"), position=0, seed=0)
    longer = StepRenderer(step("{{ outline }}", params={"user": "x" * 1000}), position=0, seed=0)
    made = [each.render(ROW, 0, {"outline": "word" * 25}) for each in (renderer, longer)]
    assert isinstance(made[0], Request)
    assert isinstance(made[1], Request)
    assert renderer.input_tokens_expected(made[0]) == longer.input_tokens_expected(made[1]) == 25 + 8
