"""The errors: what each ends the process with, and the one message that has to be enough."""

from pathlib import Path

import pytest

from tunemill import errors
from tunemill.errors import RecipeError, TunemillError, UserError


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("TunemillError", 1),
        ("UserError", 2),
        ("RecipeError", 2),
        ("SourceError", 2),
        ("ArgumentError", 2),
        ("RunFolderError", 2),
        ("ProviderRefused", 5),
        ("ProviderUnreachable", 5),
        ("FineTuningFailed", 6),
        ("RunFolderUnwritable", 74),
        ("RunFolderBusy", 75),
    ],
)
def test_every_error_has_its_exit_code(kind: str, code: int) -> None:
    """The codes are a promise to whoever calls from a script."""
    of_kind = getattr(errors, kind)
    assert issubclass(of_kind, TunemillError)
    assert of_kind.exit_code == code


def test_the_message_names_file_line_key_value_problem_and_mend() -> None:
    """In the order in which a person looks for them."""
    error = RecipeError("must be positive", mend="use 1 or more", file=Path("r.toml"), line=3, key="samples", value=-1)
    assert str(error) == "r.toml:3: samples = -1: must be positive; use 1 or more"
    assert (error.file, error.line, error.key) == ("r.toml", 3, "samples")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "bad; mend it"),
        ({"file": "r.toml"}, "r.toml: bad; mend it"),
        ({"key": "a"}, "a: bad; mend it"),
        ({"key": "a", "value": None}, "a = None: bad; mend it"),
        ({"key": "a", "value": "x\ny"}, "a = 'x\\ny': bad; mend it"),
        ({"key": "a", "value": "x" * 500}, f"a = '{'x' * 76}...: bad; mend it"),
    ],
)
def test_what_is_not_known_is_left_out(facts: dict[str, str], message: str) -> None:
    """None is a value; a long value is cut."""
    assert str(UserError("bad", mend="mend it", **facts)) == message  # type: ignore[arg-type]  # the table mixes types
