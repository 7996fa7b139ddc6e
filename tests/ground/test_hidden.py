"""Text that wants to hide something is shown with its names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.hidden import unhidden


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\nlines\tand tabs", "plain\nlines\tand tabs"),
        ("line\r\nend", "line\nend"),
        ("over\rwritten", "over⟨U+000D⟩written"),
        ("\x1b[31mred\x1b[0m", "⟨U+001B⟩[31mred⟨U+001B⟩[0m"),
        ("\x00\x07\x7f\x9b", "⟨U+0000⟩⟨U+0007⟩⟨U+007F⟩⟨U+009B⟩"),
        ("txt.\u202egnp.exe", "txt.⟨U+202E⟩gnp.exe"),
        ("\u2066iso\u2069lated\u200fmark", "⟨U+2066⟩iso⟨U+2069⟩lated⟨U+200F⟩mark"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("js\u2028line", "js⟨U+2028⟩line"),
        ("lone\ud800half", "lone⟨U+D800⟩half"),
        ("tags\U000e0041\U000e007f", "tags⟨U+E0041⟩⟨U+E007F⟩"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("قصة עברית नमस्ते 你好 é", "قصة עברית नमस्ते 你好 é"),
        ("👩\u200d🚀 ❤\ufe0f می\u200cخواهم", "👩\u200d🚀 ❤\ufe0f می\u200cخواهم"),
    ],
)
def test_what_would_be_hidden_has_its_name(text: str, shown: str) -> None:
    """And everything else, markup and all scripts of the world included, stays as it is."""
    assert unhidden(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_a_browser_obeys_is_left(text: str) -> None:
    """No control but newline and tab, no mark of direction, nothing that could not be encoded."""
    shown = unhidden(text)
    shown.encode()
    assert not {unicodedata.category(each) for each in shown if each not in "\n\t"} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(each) for each in shown} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    }  # fmt: skip
