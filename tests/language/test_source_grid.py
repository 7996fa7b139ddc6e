"""The grid: lazy at any size, in order, and drawn from without walking it."""

from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tunemill.recipe.sections import GridSource
from tunemill.sources import Source, open_source, row_of

VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)
AXES = st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, min_size=1, max_size=4)


def grid(axes: dict[str, list[JsonValue]], sample: int | None = None, seed: int = 0) -> Source:
    """The source of these axes."""
    return open_source(GridSource(kind="grid", axes=axes, sample=sample, seed=seed), Path("/"))


def test_the_last_axis_is_the_fastest() -> None:
    """Rows come as a person would write them down."""
    source = grid({"a": [1, 2], "b": ["x", "y"]})
    assert [tuple(row.fields.values()) for row in source.rows()] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert source.fields == ("a", "b")
    assert source.count() == 4


def test_ten_million_cells_cost_nothing_until_they_are_walked() -> None:
    """Opening, counting, the first rows, a sample and an estimate of a huge grid are immediate: nothing is listed."""
    axes: dict[str, list[JsonValue]] = {name: list(range(1000)) for name in "abcdef"}
    source = grid(axes)
    assert source.count() == 10**18
    assert next(source.rows()).fields["f"] == 0
    assert len({row.id for row in source.some(500, 1)}) == 500
    sampled = grid(axes, sample=10**12)
    assert sampled.count() == 10**12
    assert len({row.id for row in islice(sampled.rows(), 500)}) == 500


@given(AXES, st.integers(1, 300), st.integers(0, 9))
def test_a_sample_is_distinct_cells_of_the_grid(axes: dict[str, list[JsonValue]], sample: int, seed: int) -> None:
    """As many as asked for, or all of them; the same again with the same seed."""
    every = {row.id for row in grid(axes).rows()}
    drawn = [row.id for row in grid(axes, sample, seed).rows()]
    assert len(set(drawn)) == len(drawn) == min(sample, len(every)) == grid(axes, sample, seed).count()
    assert set(drawn) <= every
    assert drawn == [row.id for row in grid(axes, sample, seed).rows()]


def test_adding_a_value_keeps_the_ids_of_the_rows_that_were_there() -> None:
    """A longer axis, or axes in another order, pays nothing twice."""
    before = {row.id for row in grid({"a": [1, 2], "b": ["x"]}).rows()}
    after = {row.id for row in grid({"b": ["x", "y"], "a": [1, 2, 3]}).rows()}
    assert before < after


def test_an_id_is_the_same_in_every_process() -> None:
    """The figure is fixed: another one would have every answer paid again."""
    assert row_of({"genre": "horror", "year": 1920}).id == row_of({"year": 1920, "genre": "horror"}).id
    assert row_of({"genre": "horror", "year": 1920}).id == "4237ef820c4f5b1a8f611c3185c16dd9"


def test_one_and_one_point_zero_and_true_and_text_are_different_values() -> None:
    """Rows are told apart by what is written."""
    assert len({row.id for row in grid({"a": [1, 1.0, True, "1"]}).rows()}) == 4


@given(st.integers(0, 12), st.sets(st.integers(0, 11)), st.none() | st.integers(1, 12))
def test_rows_that_are_done_with_are_passed_over(walked: int, unsettled: set[int], sample: int | None) -> None:
    """What is left are the unsettled ones, and all that was not walked, in order."""
    source = grid({"a": [1, 2, 3], "b": ["w", "x", "y", "z"]}, sample, 3)
    every = [row.id for row in source.rows()]
    walked = min(walked, len(every))
    again = sorted(number for number in unsettled if number < walked)
    left = [row.id for row in source.rows_but(walked, again)]
    assert left == [every[number] for number in again] + every[walked:]
