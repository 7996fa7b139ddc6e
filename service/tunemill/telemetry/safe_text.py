"""Text from outside made fit to be shown: secrets masked, and nothing left that a terminal would obey.

Promises: the result holds no key that looks like one, no control character but the newline, no escape sequence, no
invisible or direction-changing character, and no lone surrogate (which could not be encoded). It costs time in
proportion to `chars_max` and not to the text. Knows nothing of logs or screens.
"""

import re
import unicodedata
from collections.abc import Iterable

MASK = "[masked]"
_SECRET_CHARS_MIN = 6  # a shorter "secret" would blacken half the words of a log
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_TAB = "    "

# Hosted keys (sk-, gsk_, hf_ and the like) and whatever follows "Bearer". Providers echo keys half blotted out with
# asterisks; the visible half goes too.
_SECRET = re.compile(r"\b(?:sk|pk|rk|gsk|hf|nvapi|xai)[-_][\w*.-]{6,}|\b(bearer\s+)[\w.~+/=*-]{6,}", re.IGNORECASE)

# The sequences of ECMA-48: CSI, then the strings (OSC, DCS, SOS, PM, APC) up to their terminator, then the short ones.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
_LINE_ENDS = re.compile(r"\r\n?|[\x85\u2028\u2029]")


def mask_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with each of `secrets`, and each string that looks like a key or a bearer token, replaced by a mask."""
    for secret in secrets:
        if len(secret) >= _SECRET_CHARS_MIN:
            text = text.replace(secret, MASK)
    return _SECRET.sub(lambda match: (match[1] or "") + MASK, text)


def harmless(text: str, *, chars_max: int) -> str:
    """The first `chars_max` characters of `text`, with nothing left that is more than letters on a page."""
    text = text[:chars_max]
    if text.isascii() and text.isprintable():  # nearly all that is ever looked at
        return text
    text = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    return "".join(map(_harmless_character, text))


def one_line(text: str, *, chars_max: int) -> str:
    """`harmless`, and all white space made single blanks, so that it stays on one line."""
    return " ".join(harmless(text, chars_max=chars_max).split())


def _harmless_character(character: str) -> str:
    if character.isprintable() and character < "\u0300":
        return character
    if character == "\n":
        return character
    if character == "\t":
        return _TAB
    return _by_category(character)


def _by_category(character: str) -> str:
    """Controls and surrogates become visible; invisible format characters and variation selectors go.

    Joiners and selectors are legitimate in some scripts and emoji, but terminals disagree about their width, which
    tears a live display.
    """
    category = unicodedata.category(character)
    if category in ("Cc", "Cs"):
        return _REPLACEMENT
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return ""
    return character
