"""The compact index of digests, and the tally of lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.dataset.digests import DigestIndex, digest_of
from tunemill.dataset.lengths import BINS_MAX, LengthTally, tokens_estimate


@given(st.lists(st.integers(0, 50)))
def test_digests_are_numbered_like_a_dict_would(values: list[int]) -> None:
    """The first of equal digests decides the number."""
    index, model = DigestIndex(), dict[int, int]()
    for value in values:
        digest = digest_of(b"%d" % value)
        assert (digest in index) == (value in model)
        assert index.number_of(digest) == model.setdefault(value, len(model))
    assert len(index) == len(model)


def test_many_digests_survive_growth_and_colliding_slots() -> None:
    """Digests that fall into one slot are told apart, before and after the table has grown."""
    index = DigestIndex()
    digests = [bytes(8) + number.to_bytes(8, "little") for number in range(50)]
    digests += [digest_of(b"%d" % number) for number in range(5_000)]
    assert [index.number_of(digest) for digest in digests] == list(range(len(digests)))
    assert [index.number_of(digest) for digest in digests] == list(range(len(digests)))


@given(st.lists(st.integers(0, 4_000), min_size=1))
def test_lengths_are_exact_where_texts_are_short(values: list[int]) -> None:
    """Count, total, extremes and median are those of the sorted list, and every text is in one bin."""
    tally = LengthTally()
    for value in values:
        tally.add(value)
    lengths = tally.lengths()
    ordered = sorted(values)
    assert (lengths.count, lengths.total, lengths.least, lengths.most) == (
        len(values),
        sum(values),
        min(values),
        max(values),
    )
    assert lengths.median == ordered[(len(ordered) - 1) // 2]
    assert sum(one.count for one in lengths.bins) == len(values)
    assert len(lengths.bins) <= BINS_MAX + 1
    assert lengths.bins[0].start <= min(values)
    assert lengths.bins[-1].end > max(values)


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_long_texts_are_tallied_closely(values: list[int]) -> None:
    """A quantile of long texts is right to one part in two thousand."""
    tally = LengthTally()
    for value in values:
        tally.add(value)
    exact = sorted(values)[(len(values) - 1) // 2]
    assert exact * (1 - 1 / 2048) <= tally.lengths().median <= exact


def test_no_texts_have_no_lengths() -> None:
    """All figures are zero and there is no bin."""
    lengths = LengthTally().lengths()
    assert (lengths.count, lengths.median, lengths.mean, lengths.bins) == (0, 0, 0.0, ())


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_tokens_are_a_quarter_of_the_characters(characters: int, tokens: int) -> None:
    """Rounded up."""
    assert tokens_estimate(characters) == tokens
