"""How samples multiply along the steps, and which text belongs to which."""

from hypothesis import given
from hypothesis import strategies as st

from tunemill.plan import Chain
from tunemill.recipe.sections import StepSection

SAMPLES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def chain(*samples: int) -> Chain:
    """The chain of steps with these samples."""
    return Chain.of(
        [StepSection(name=f"s{at}", model="m", prompt="p", samples=many) for at, many in enumerate(samples)]
    )


def test_three_of_each_of_two_outlines_make_six() -> None:
    """The drawing at the top of the module."""
    two_steps = chain(2, 3)
    assert two_steps.counts == (2, 6)
    assert [two_steps.parent_sample(1, sample) for sample in range(6)] == [0, 0, 0, 1, 1, 1]
    assert list(two_steps.child_samples(0, 1)) == [3, 4, 5]
    assert two_steps.requests_per_row == 8
    assert two_steps.candidates_per_row == 6


def test_a_recipe_without_steps_has_no_requests_and_one_candidate_a_row() -> None:
    """Its rows are examples already."""
    assert chain().requests_per_row == 0
    assert chain().candidates_per_row == 1


@given(SAMPLES)
def test_parents_and_children_agree(samples: list[int]) -> None:
    """Every sample is among the children of its parent, and the children of one step are all samples of the next."""
    steps = chain(*samples)
    for step in range(1, len(samples)):
        for sample in range(steps.counts[step]):
            assert sample in steps.child_samples(step - 1, steps.parent_sample(step, sample))
        children = [
            child for sample in range(steps.counts[step - 1]) for child in steps.child_samples(step - 1, sample)
        ]
        assert children == list(range(steps.counts[step]))
    assert not steps.child_samples(len(samples) - 1, 0)


@given(SAMPLES, st.data())
def test_a_lineage_is_one_sample_of_each_step_above(samples: list[int], data: st.DataObject) -> None:
    """It ends with the sample itself, and each reads the one before it."""
    steps = chain(*samples)
    last = len(samples) - 1
    sample = data.draw(st.integers(0, steps.counts[last] - 1))
    line = steps.lineage(last, sample)
    assert len(line) == len(samples)
    assert line[-1] == sample
    assert all(steps.parent_sample(at, line[at]) == line[at - 1] for at in range(1, len(line)))
