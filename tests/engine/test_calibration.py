"""Learning what a provider counts, from what it says remains."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.limits_support import in_another_language, mixed, prompt_only, the_larger, the_sum

from tunemill.engine.calibration import Calibration
from tunemill.engine.size import Size

PER_S = 30_000.0


def learned(counted: Callable[[Size], int]) -> Calibration:
    """Requests come as fast as is refilled, so that the bucket stays half full; the replies come in any order."""
    calibration, random, now = Calibration(), Random(0), 100.0
    replies = []
    for _ in range(600):
        size = mixed(random)
        now += counted(size) / PER_S
        replies.append((calibration.took(size, now), PER_S / 2 + counted(size)))
        if len(replies) > 30:
            mark, missing = replies.pop(random.randrange(10))
            calibration.announced(mark, missing=missing, per_s=PER_S)
    return calibration


@pytest.mark.parametrize("rule", [the_sum, the_larger, prompt_only, in_another_language])
def test_the_count_is_learned_whatever_the_rule(rule: Callable[[Size], int]) -> None:
    """On average within 3 % for sizes like those that were seen."""
    calibration = learned(rule)
    random = Random(1)
    sizes = [mixed(random) for _ in range(2000)]
    expected, true = sum(map(calibration.expected, sizes)), sum(map(rule, sizes))
    assert expected == pytest.approx(true, rel=0.03)


def test_a_full_bucket_bounds_the_count_from_above() -> None:
    """What is missing after a request is no less than it was counted as."""
    calibration = Calibration()
    for number in range(50):
        calibration.announced(calibration.took(Size(400, 300), float(number)), missing=300.0, per_s=PER_S)
    assert calibration.expected(Size(400, 300)) == pytest.approx(300, rel=0.01)


def test_without_announcements_it_stays_at_the_commonest_rule() -> None:
    """A quarter of the characters and the output's bound; at least 1."""
    calibration = Calibration()
    for number in range(100):
        calibration.took(Size(number, 10), float(number))
    assert calibration.expected(Size(400, 100)) == 200
    assert calibration.expected(Size(0, 0)) == 1


def test_nonsense_is_not_believed() -> None:
    """Nothing missing, more missing than a bucket holds, or less than any prompt can be."""
    calibration = Calibration()
    for number in range(200):
        mark = calibration.took(Size(400, 100), number / 10)
        for missing in (0.0, 1.0, -5.0, 1e9):
            calibration.announced(mark, missing=missing, per_s=PER_S)
    assert calibration.expected(Size(400, 100)) == 200


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.floats(-1e9, 1e9), st.floats(0, 10)), max_size=60
    )
)
def test_whatever_is_announced_the_expectation_stays_within_reason(
    said: list[tuple[int, int, float, float]],
) -> None:
    """Between a small part of the commonest rule and half more than it."""
    calibration, now = Calibration(), 0.0
    for characters, output, missing, pause_s in said:
        now += pause_s
        mark = calibration.took(Size(characters, output), now)
        calibration.announced(mark, missing=missing, per_s=PER_S)
    for size in (Size(400, 100), Size(40_000, 10), Size(4, 4000)):
        usual = size.characters / 4 + size.output_max
        assert 0.03 * usual <= calibration.expected(size) <= 1.51 * usual
