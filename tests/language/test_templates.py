"""Templates: what they refuse, what they make of values, and that one bad row harms no other."""

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.errors import RecipeError
from tunemill.model import Json, Row
from tunemill.templates import TEXT_CHARS_MAX, Template, Unrenderable, entropy, values_for

WORDS_OF_JINJA = {
    "and",
    "else",
    "false",
    "if",
    "in",
    "is",
    "none",
    "not",
    "or",
    "true",
    "self",
    "loop",
    "dict",
    "range",
}
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5).filter(lambda name: name not in WORDS_OF_JINJA)


def render(text: str, **values: Json) -> str | Unrenderable:
    """The text that this template makes of these values."""
    return Template.parse(text, key="steps[0].prompt").render(values)


def rendered(text: str, **values: Json) -> str:
    """As `render`, where it must work."""
    result = render(text, **values)
    assert isinstance(result, str), result
    return result


def problem(text: str, **values: Json) -> str:
    """Why this row cannot be rendered."""
    result = render(text, **values)
    assert isinstance(result, Unrenderable), result
    assert result.key == "steps[0].prompt"
    return result.problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ a", "line 1 of this template: unexpected end of template"),
        ("one\n{% if a %}two", "line 2 of this template: Unexpected end of template"),
        ("{% include 'other.txt' %}", "cannot include, import or extend another one"),
        ("{% extends 'other.txt' %}", "cannot include, import or extend another one"),
        ("{{ a | random }}", "there is no filter 'random'"),
        ("{{ a | truncate_chars(10) }}", "has no room for the marker, which takes 50 characters"),
        ("{{ a | truncate_tokens('many') }}", "n must be a whole number"),
        ("{{" + "(" * 5000 + ")" * 5000 + "}}", "nested too deeply"),
    ],
)
def test_a_wrong_template_is_told_with_its_line(text: str, said: str) -> None:
    """Parsing fails once, with file, key and the template's own line, and not at every row."""
    with pytest.raises(RecipeError) as raised:
        Template.parse(text, key="steps[0].prompt", file="recipe.toml")
    assert str(raised.value).startswith("recipe.toml: steps[0].prompt: ")
    assert said in str(raised.value)


def test_a_missing_value_sets_its_row_aside() -> None:
    """A name that a row lacks is an outcome of that row, not an exception and not an empty place."""
    assert problem("Plot a {{ genre }} film.", title="x") == "'genre' is undefined"
    assert problem("{{ row['Film Title'] }}", row={"title": "x"}) == "'dict object' has no attribute 'Film Title'"
    assert problem("{{ genre | upper }}") == "'genre' is undefined"


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 / 0 }}",
        "{{ a + 1 }}",
        "{{ a | truncate_chars(60) | round }}",
        "{{ [] | first | upper }}",
        "{{ a.upper }}",
        "{{ range }}",
        "{{ a.__class__.__mro__ }}",
        "{{ numbers | truncate_chars(100) }}",
    ],
)
def test_whatever_an_expression_raises_is_the_rows_own_problem(text: str) -> None:
    """Type errors, divisions by zero, unsafe attributes: each is told as a sentence."""
    assert problem(text, a="text", numbers=[1])


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{% for i in range(10000000) %}a{% endfor %}",
        "{% for i in range(90000) %}{{ 'word' * 100 }}{% endfor %}",
        "{{ a }}",
    ],
)
def test_absurd_sizes_are_refused_before_they_are_built(text: str) -> None:
    """A slip with a zero too many does not take the memory of the machine."""
    assert problem(text, a="x" * (TEXT_CHARS_MAX + 1))


def test_a_row_cannot_be_changed_by_a_template() -> None:
    """Lists and tables of a row are read-only, so that a later template sees the same row."""
    assert "append" in problem("{{ tags.append('x') }}", tags=["a"])


def test_values_stand_in_the_text_as_they_are_written_in_json() -> None:
    """Numbers, truth, null, lists and tables have one way to be written."""
    assert rendered("{{ a }}|{{ b }}|{{ c }}|{{ d }}", a=1, b=1.5, c=True, d=None) == "1|1.5|true|"
    assert rendered("{{ a }}", a=["x", {"y": None}]) == '["x",{"y":null}]'
    assert rendered("{{ a | upper }} {{ a }}", a="<é&>") == "<É&> <é&>"


def test_one_newline_at_the_end_is_dropped_and_nothing_else() -> None:
    """A prompt between triple quotes, or from a file, does not end with a newline; two leave one."""
    assert rendered("\n a \n") == "\n a "
    assert rendered("a\n\n") == "a\n"
    assert rendered("{{ a }}\n", a="x\n") == "x\n"


def test_the_names_that_a_template_reads_are_known() -> None:
    """Names that it sets itself, loop variables and Jinja2's own functions are not among them."""
    template = Template.parse(
        "{% set x = 1 %}{% for i in range(n) %}{{ i }}{{ x }}{{ row['A b'] }}{% endfor %}", key="k"
    )
    assert template.names == {"n", "row"}
    assert template.row_keys == {"A b"}


@given(st.lists(st.tuples(st.booleans(), NAMES)), st.dictionaries(NAMES, st.text() | st.none() | st.booleans()))
def test_plain_templates_render_as_jinja_does(pieces: list[tuple[bool, str]], values: dict[str, Json]) -> None:
    """Text and names joined directly give what the same template gives with an empty statement in it."""
    text = "".join(f"{{{{ {word} }}}}" if is_name else f"{word} " for is_name, word in pieces)
    direct = Template.parse(text, key="k").render(values)
    through_jinja = Template.parse("{% if true %}{% endif %}" + text, key="k").render(values)
    assert direct == through_jinja


def test_built_in_names_hide_a_column_which_row_still_reaches() -> None:
    """A table with a column `sample` can be used; `{{ sample }}` is the sample's number all the same."""
    row = Row(id="r1", fields={"sample": "column", "title": "T"})
    values = values_for(row, seed=7, sample=2, texts={"outline": "O"})
    text = "{{ sample }} {{ row['sample'] }} {{ row_id }} {{ outline }} {{ title }}"
    assert rendered(text, **values) == "2 column r1 O T"


def test_entropy_is_the_same_at_every_restart() -> None:
    """The figure is fixed: another one would have every answer paid again."""
    assert entropy(7, "ab", 0) == "39fd6ed7-cce2-8b18-abda-beb311e31193"


@given(st.lists(st.tuples(st.integers(), st.text(string.hexdigits), st.integers(0, 9)), unique=True))
def test_entropy_differs_by_seed_row_and_sample(places: list[tuple[int, str, int]]) -> None:
    """Each triple has a UUID of its own, of the right form."""
    made = [entropy(*place) for place in places]
    assert len(set(made)) == len(places)
    assert all(str(UUID(text)) == text and UUID(text).version == 8 for text in made)
