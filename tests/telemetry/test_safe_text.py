"""Text from outside is harmless on a terminal, and keys in it are masked."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.telemetry.safe_text import MASK, harmless, mask_secrets, one_line


@pytest.mark.parametrize(
    ("hostile", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a new window title\x07text", "text"),
        ("\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x9b2Jscreen", "screen"),
        ("\x1bcreset", "reset"),
        ("a\x08b\x07c", "a\ufffdb\ufffdc"),
        ("over\rwritten", "over\nwritten"),
        ("one\r\ntwo\u2028three\x85four", "one\ntwo\nthree\nfour"),
        ("abc\u202efed\u202c\u2066x\u2069", "abcfedx"),
        ("zero\u200bwidth\ufeff\U000e0041", "zerowidth"),
        ("\ud800 alone", "\ufffd alone"),
        ("[bold]markup[/bold] :smile:", "[bold]markup[/bold] :smile:"),
        ("tab\tbed", "tab    bed"),
        ("日本語 é ü ß", "日本語 é ü ß"),
    ],
)
def test_what_a_terminal_would_obey_is_gone(hostile: str, left: str) -> None:
    """Escape sequences vanish, controls become visible, letters of all scripts stay."""
    assert harmless(hostile, chars_max=1_000) == left


@given(st.text(st.characters(), max_size=200))
def test_no_control_format_or_surrogate_character_is_left(text: str) -> None:
    """Whatever comes in, only letters on a page and newlines come out, and they can be encoded."""
    shown = harmless(text, chars_max=1_000)
    shown.encode()
    assert not [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_only_the_first_characters_are_looked_at() -> None:
    """The cost of showing a text is bounded by what is shown."""
    assert harmless("x" * 10_000_000, chars_max=5) == "xxxxx"


def test_one_line_is_one_line() -> None:
    """All white space becomes single blanks."""
    assert one_line("  a\n\n b\t\tc\r\n", chars_max=100) == "a b c"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnop",
        "sk-proj-AbC_123-xyz456",
        "sk-ab****wxyz",
        "gsk_0123456789abcdef",
        "hf_abcdefghijklmnop",
        "xai-0123456789",
    ],
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    """Also one that the provider has half blotted out itself; the words around it stay."""
    masked = mask_secrets(f"Incorrect API key provided: {secret}, find it at")
    assert masked == f"Incorrect API key provided: {MASK}, find it at"


def test_a_bearer_token_is_masked_and_its_word_stays() -> None:
    """The word tells the reader what was there."""
    assert mask_secrets("Authorization: Bearer abc.def-ghi==") == f"Authorization: Bearer {MASK}"


def test_a_key_that_looks_like_nothing_is_masked_when_it_is_known() -> None:
    """Self-hosted servers take any word as a key; one too short to be a key does not blacken the log."""
    assert mask_secrets("token hunter2hunter2!", ["hunter2hunter2", "to"]) == f"token {MASK}!"


@pytest.mark.parametrize(
    "innocent", ["task-abcdefghijk", "risk-adjusted-return", "ask-me-anything", "sk-8", "bearer of news"]
)
def test_words_that_merely_resemble_keys_stay(innocent: str) -> None:
    """A mask that hides ordinary words makes a log worthless."""
    assert mask_secrets(innocent) == innocent
