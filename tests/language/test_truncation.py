"""Cutting long texts: never longer than asked for, said in the text, and at a place where a reader would pause."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.templates import BYTES_PER_TOKEN, CUT_MARKER, tokens_estimated, truncate_chars, truncate_tokens

TEXTS = st.text(st.characters(codec="utf-8"), max_size=400) | st.lists(
    st.sampled_from(["word", "Ünïcode", "end. ", "\n\n", " ", "日本語", "👩‍👩‍👧", "é"])
).map("".join)


def test_a_marker_that_does_not_fit_is_an_error() -> None:
    """Rather than a text that is silently cut, or longer than asked for."""
    with pytest.raises(ValueError, match="no room for the marker"):
        truncate_chars("short", 5, "[...]")
    with pytest.raises(ValueError, match="no room for the marker"):
        truncate_tokens("short", 3)


@pytest.mark.parametrize("n", [1.5, "10", None, True])
def test_a_length_that_is_no_whole_number_is_an_error(n: int) -> None:
    """Templates are not type-checked, so this is."""
    with pytest.raises(TypeError, match="whole number"):
        truncate_chars("text", n)


def test_only_text_can_be_cut() -> None:
    """A list would be cut in the middle of its JSON."""
    with pytest.raises(TypeError, match="only text"):
        truncate_chars(["a"], 100)


@given(TEXTS, st.integers(1, 300), st.text(max_size=10))
def test_the_result_never_has_more_characters_than_asked_for(text: str, room: int, marker: str) -> None:
    """Marker included; and a text that fits is returned as it is."""
    n = len(marker) + room
    cut = truncate_chars(text, n, marker)
    assert len(cut) <= n
    assert cut == text if len(text) <= n else cut.endswith(marker)
    assert text.startswith(cut.removesuffix(marker)) or cut == text


@given(TEXTS, st.integers(1, 100))
def test_the_result_never_has_more_tokens_than_asked_for(text: str, room: int) -> None:
    """Tokens as they are estimated everywhere else."""
    n = tokens_estimated(CUT_MARKER) + room
    cut = truncate_tokens(text, n)
    assert tokens_estimated(cut) <= n
    assert cut == text if tokens_estimated(text) <= n else cut.endswith(CUT_MARKER)


def test_a_cut_falls_at_the_end_of_a_paragraph_a_sentence_or_a_word() -> None:
    """In this order, where one is near; and in the middle of a word where none is."""
    assert truncate_chars("First one here.\n\nSecond. And third one", 27, "~") == "First one here.\n\nSecond.~"
    assert truncate_chars("aaaa bbbb cccc dddd.\n\neeee ffff", 26, "~") == "aaaa bbbb cccc dddd.~"
    assert truncate_chars("aaaa bbbb cccc dddd eeee", 18, "~") == "aaaa bbbb cccc~"
    assert truncate_chars("a" * 40, 20, "~") == "a" * 19 + "~"
    assert truncate_chars("aaaa bbbb", 5, "~") == "aaaa~"


def test_a_letter_keeps_its_accent_and_a_family_stays_together() -> None:
    """A cut never leaves half of what a reader sees as one character, where it can be seen in the text itself."""
    decomposed = unicodedata.normalize("NFD", "éééééééééééé")
    assert truncate_chars(decomposed, 10, "~").removesuffix("~") in decomposed[:8]
    assert truncate_chars("aaaaaaaaaa👩‍👩‍👧", 14, "~") == "aaaaaaaaaa~"


def test_tokens_are_estimated_by_bytes() -> None:
    """Four bytes a token: English by four characters, Chinese by somewhat more than one."""
    assert tokens_estimated("") == 0
    assert tokens_estimated("abcde") == 2
    assert tokens_estimated("日本語") == 3
    assert BYTES_PER_TOKEN == 4
