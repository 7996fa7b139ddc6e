"""Drawing: distinct, the same for the same seed, fair, a prefix of a larger draw, and cheap at any size."""

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tunemill.sources.draw import Draw


@given(st.integers(1, 2000), st.integers(1, 2500), st.integers())
def test_a_draw_has_distinct_indices_within_the_size(size: int, count: int, seed: int) -> None:
    """As many as asked for, or all."""
    drawn = list(Draw(size=size, count=count, seed=seed))
    assert len(drawn) == len(set(drawn)) == min(size, count)
    assert all(0 <= index < size for index in drawn)


@given(st.integers(1, 500), st.integers(1, 500), st.integers())
def test_membership_agrees_with_the_draw(size: int, count: int, seed: int) -> None:
    """Asking about an index that streams by gives what drawing gave."""
    draw = Draw(size=size, count=count, seed=seed)
    assert sorted(draw) == [index for index in range(size) if index in draw]


@given(st.integers(2, 1000), st.integers(1, 400), st.integers(0, 600))
def test_a_larger_draw_begins_with_the_smaller_one(size: int, count: int, more: int) -> None:
    """Raising `sample` keeps every row that was drawn before."""
    smaller = list(Draw(size=size, count=count, seed=1))
    larger = list(Draw(size=size, count=count + more, seed=1))
    assert larger[: len(smaller)] == smaller


def test_an_enormous_grid_is_drawn_from_at_once() -> None:
    """A quintillion of cells cost no more than ten."""
    draw = Draw(size=10**18, count=10**15, seed=3)
    first = list(islice(draw, 1000))
    assert len(set(first)) == 1000
    assert all(index in draw for index in first)


def test_every_index_is_drawn_about_equally_often() -> None:
    """Over 3,000 seeds, each of 20 indices is among 5 drawn in a quarter of the cases, within five deviations."""
    counts = Counter(index for seed in range(3000) for index in Draw(size=20, count=5, seed=seed))
    deviation = (3000 * 0.25 * 0.75) ** 0.5
    assert all(abs(counts[index] - 750) < 5 * deviation for index in range(20))


def test_neighbours_are_drawn_independently() -> None:
    """Two given indices come together about as often as chance would have it."""
    together = sum(1 for seed in range(3000) if {0, 1} <= set(Draw(size=20, count=10, seed=seed)))
    expected = 3000 * (10 / 20) * (9 / 19)
    assert abs(together - expected) < 5 * (expected * 0.76) ** 0.5


def test_seeds_give_different_draws() -> None:
    """And the same seed the same one, on every machine: the figures are fixed."""
    assert list(Draw(size=1000, count=4, seed=7)) == list(Draw(size=1000, count=4, seed=7))
    assert len({tuple(Draw(size=1000, count=4, seed=seed)) for seed in range(50)}) == 50
