"""The split: stable, no prompt on both sides, no row on both sides."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.dataset_support import candidate_of, row_of, spec_of

from tunemill.dataset import Judge, Limits, Ready, Rejected
from tunemill.dataset.select import Decision, Selector
from tunemill.dataset.split import Side, Splitter, prompt_digest
from tunemill.model import Candidate
from tunemill.recipe.sections import ChatTrain

# Rows are lists of samples, each a (prompt, answer); few of each, so that they collide.
SAMPLE = st.tuples(st.sampled_from("pqrstuvwxyz"), st.sampled_from("ab"))
ROWS = st.lists(st.lists(SAMPLE, min_size=1, max_size=3), max_size=12)
BY_SAMPLE = {"user": "{{ prompts[sample] }}", "assistant": "{{ story }}", "seed": 7}


def candidates_of(rows: list[list[tuple[str, str]]]) -> Iterator[Candidate]:
    for position, samples in enumerate(rows):
        row = row_of(prompts=[prompt for prompt, _ in samples], texts=[text for _, text in samples])
        for sample, (_, text) in enumerate(samples):
            yield candidate_of(text, position=position, sample=sample, row=row)


def decided(rows: list[list[tuple[str, str]]], fraction: float) -> Iterator[tuple[Ready, Decision]]:
    judge = Judge(spec_of(ChatTrain.model_validate({**BY_SAMPLE, "validation_fraction": fraction})))
    selector = Selector(splitter=Splitter(fraction=fraction))
    for record in judge.judge(candidates_of(rows), Limits(rejects={})).records:
        assert isinstance(record, Ready)
        yield record, selector.decide(record)


@settings(max_examples=200)
@given(rows=ROWS, fraction=st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_no_prompt_and_no_row_is_ever_on_both_sides(rows: list[list[tuple[str, str]]], fraction: float) -> None:
    """Also where a row's samples ask different things, and rows ask the same."""
    by_prompt: dict[bytes, set[Side]] = {}
    by_row: dict[str, set[Side]] = {}
    for example, decision in decided(rows, fraction):
        if isinstance(decision, Side):
            by_prompt.setdefault(example.prompt, set()).add(decision)
            by_row.setdefault(example.row_id, set()).add(decision)
    assert all(len(sides) == 1 for sides in [*by_prompt.values(), *by_row.values()])


@settings(max_examples=200)
@given(rows=ROWS, more=ROWS, at=st.integers(0, 12))
def test_adding_rows_moves_no_example_to_the_other_side(
    rows: list[list[tuple[str, str]]], more: list[list[tuple[str, str]]], at: int
) -> None:
    """Wherever the new rows are put; an example that is in both builds is on the same side in both."""
    first, second = (
        {(example.row_id, example.sample): decision for example, decision in decisions if isinstance(decision, Side)}
        for decisions in (decided(rows, 0.5), decided(rows[:at] + more + rows[at:], 0.5))
    )
    assert all(side is second.get(key, side) for key, side in first.items())


def test_samples_that_share_their_prompt_are_never_left_out() -> None:
    """split_conflict is for templates that ask differently by sample, and for nothing else."""
    rows = [[(prompt, "a"), (prompt, "b")] for prompt in "pqrspqrs"]
    rules = {decision.rule for _, decision in decided(rows, 0.5) if isinstance(decision, Rejected)}
    assert rules == {"duplicate"}


def test_a_conflict_is_named() -> None:
    """A prompt that another row put into the other file leaves the later example out, with both sides in the detail."""
    prompts = [prompt_digest(f"p{number}".encode(), seed=7) for number in range(20)]
    sides = {prompt: Splitter(fraction=0.5).side_of("r", prompt) for prompt in prompts}
    train = next(prompt for prompt, side in sides.items() if side is Side.TRAIN)
    validation = next(prompt for prompt, side in sides.items() if side is Side.VALIDATION)
    splitter = Splitter(fraction=0.5)
    assert splitter.claim(validation, splitter.side_of("one", train)) is None
    conflict = splitter.claim(validation, splitter.side_of("two", validation))
    assert conflict is not None
    assert conflict.rule == "split_conflict"
    assert "train" in conflict.detail
    assert "validation" in conflict.detail


def test_the_fraction_is_met_and_only_grows() -> None:
    """About the share that was asked for; a larger fraction keeps everything that was in validation."""
    prompts = [f"prompt {number}".encode() for number in range(4_000)]

    def validation(fraction: float) -> set[bytes]:
        splitter = Splitter(fraction=fraction)
        sides = {prompt: splitter.side_of(prompt.decode(), prompt_digest(prompt, seed=7)) for prompt in prompts}
        return {prompt for prompt, side in sides.items() if side is Side.VALIDATION}

    assert 320 < len(validation(0.1)) < 480
    assert validation(0.1) < validation(0.3)
    assert validation(0.0) == set()


def test_the_seed_changes_the_split() -> None:
    """Another seed draws other rows."""
    prompts = [f"prompt {number}".encode() for number in range(200)]
    drawn = [
        [Splitter(fraction=0.5).side_of("r", prompt_digest(prompt, seed=seed)) for prompt in prompts] for seed in (1, 2)
    ]
    assert drawn[0] != drawn[1]
