"""A value that is quickly made is the same value in every respect."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from tunemill.frozen import quickly_made


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """By names alone."""

    text: str
    number: int = 7
    rest: tuple[int, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Placed:
    """By place, too."""

    first: int
    second: int = 2


def test_it_holds_what_it_was_given() -> None:
    """And the defaults of what it was not given."""
    made = Quick(text="a", rest=(1,))
    assert (made.text, made.number, made.rest) == ("a", 7, (1,))
    assert (Placed(1).first, Placed(1).second, Placed(1, 5).second, Placed(second=4, first=3).second) == (1, 2, 5, 4)


def test_it_is_of_its_class_and_frozen() -> None:
    """Nothing of the twin is left: nobody can assign to it, or add anything."""
    made = Quick(text="a")
    assert type(made) is Quick
    with pytest.raises(FrozenInstanceError):
        made.text = "b"  # type: ignore[misc] # it is refused
    with pytest.raises(FrozenInstanceError):
        del made.text
    assert not hasattr(made, "__dict__")


def test_it_is_compared_hashed_shown_copied_and_pickled() -> None:
    """As any frozen dataclass."""
    made = Quick(text="a", number=1)
    assert made == Quick(text="a", number=1)
    assert made != Quick(text="a", number=2)
    assert hash(made) == hash(Quick(text="a", number=1))
    assert repr(made) == "Quick(text='a', number=1, rest=())"
    assert replace(made, text="b") == Quick(text="b", number=1)
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("arguments", [{}, {"text": "a", "other": 1}])
def test_wrong_arguments_are_refused(arguments: dict[str, str]) -> None:
    """A field that is missing, or that there is not."""
    with pytest.raises(TypeError):
        Quick(**arguments)  # type: ignore[arg-type] # wrong ones


def test_what_it_cannot_make_it_refuses() -> None:
    """A class that does more than hold its fields."""

    @dataclass(frozen=True, slots=True)
    class Busy:
        number: int

        def __post_init__(self) -> None:
            assert self.number

    with pytest.raises(AssertionError):
        quickly_made(Busy)
