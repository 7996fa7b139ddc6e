"""Which rows of a walk are done with, at every moment."""

from hypothesis import given
from hypothesis import strategies as st

from tunemill.engine import Settled
from tunemill.engine.settled import SettledRows

PLACES = 3


def test_nothing_is_settled_at_first() -> None:
    """And nothing is unsettled either."""
    assert SettledRows(PLACES, Settled()).now(is_whole=False) == Settled()


def test_a_row_is_settled_with_its_last_place() -> None:
    """Its places count from then on, and not before."""
    rows = SettledRows(2, Settled())
    rows.began("a", 0, 0)
    rows.was_copy(1)
    rows.began("b", 2, 1)
    rows.completed("b", "plot")
    rows.failed("b", "tale")
    rows.completed("a", "plot")
    now = rows.now(is_whole=False)
    assert (now.walked, now.positions, now.duplicates, now.unsettled) == (3, 2, 1, ((0, 0),))
    assert (now.completed, now.completed_by_step) == (1, {"plot": 1})
    assert (now.failed, now.failed_by_step) == (1, {"tale": 1})


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.booleans()), max_size=80), st.integers(0, 80))
def test_going_on_from_any_moment_comes_to_the_same(steps: list[tuple[bool, int, bool]], cut: int) -> None:
    """Whoever takes over looks at the unsettled rows again, and then knows what the first one would have known."""
    left: dict[int, int] = {}
    rows, walked = SettledRows(PLACES, Settled()), 0
    done: list[tuple[int, bool]] = []
    for at, (begin, which, fails) in enumerate(steps):
        if at == cut:
            before = rows.now(is_whole=False)
            assert before.completed + before.failed == PLACES * (walked - len(before.unsettled))
            rows = SettledRows(PLACES, before)
            for number, position in before.unsettled:
                assert rows.now(is_whole=False).unsettled == before.unsettled
                rows.began(str(number), number, position)
                for of, failed in done:
                    if of == number:
                        rows.failed(str(of), "plot") if failed else rows.completed(str(of), "plot")
        if begin or not left:
            rows.began(str(walked), walked, walked)
            left[walked] = PLACES
            walked += 1
        else:
            number = sorted(left)[which % len(left)]
            rows.failed(str(number), "plot") if fails else rows.completed(str(number), "plot")
            done.append((number, fails))
            left[number] -= 1
            if not left[number]:
                del left[number]
    now = rows.now(is_whole=True)
    assert [number for number, _ in now.unsettled] == sorted(left)
    settled = [failed for number, failed in done if number not in left]
    assert (now.failed, now.completed) == (sum(settled), len(settled) - sum(settled))
