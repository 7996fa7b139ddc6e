"""Cutting a text that is longer than fits, at a place where a reader would pause, and saying so in the text.

Promises: a text that fits is returned as it is; one that is cut ends with the marker, and marker and all it is never
longer than was asked for. Tokens are estimated, because no tokenizer comes without a download: four bytes of UTF-8 are
counted as one token. That is close for English prose and for most other scripts, and too low for digits and code.
"""

import unicodedata

CUT_MARKER = "\n\n[The text was cut here: it is longer than fits.]"
BYTES_PER_TOKEN = 4

# A cut moves back by at most this share of the room, to end where a paragraph, a sentence or a word ends.
_BACK_BY = 0.2
_PAUSES = (("\n\n",), (". ", "! ", "? ", ".\n", "!\n", "?\n", '." ', "。", "！", "？"), ("\n", " "))


def tokens_estimated(text: str) -> int:
    """About how many tokens the text has: its UTF-8 bytes divided by four, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def truncate_chars(text: object, n: int, marker: str = CUT_MARKER) -> str:
    """At most `n` characters of `text`, the marker included. Raises ValueError where the marker leaves no room."""
    _check_is_count(n)
    whole = _as_text(text)
    room = _room(n, len(marker), what=f"n = {n} characters", size=f"{len(marker)} characters")
    return whole if len(whole) <= n else _cut(whole[:room], whole[room : room + 1]) + marker


def truncate_tokens(text: object, n: int, marker: str = CUT_MARKER) -> str:
    """At most about `n` tokens of `text`, the marker included: `4 * n` bytes of UTF-8 (see the top of this file)."""
    _check_is_count(n)
    whole = _as_text(text)
    size = len(marker.encode())
    room = _room(n * BYTES_PER_TOKEN, size, what=f"n = {n} tokens", size=f"about {-(-size // BYTES_PER_TOKEN)} tokens")
    encoded = whole.encode()
    if len(encoded) <= n * BYTES_PER_TOKEN:
        return whole
    kept = encoded[:room].decode(errors="ignore")
    return _cut(kept, whole[len(kept) : len(kept) + 1]) + marker


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"only text can be cut, and this is {type(value).__name__}")


def _check_is_count(n: object) -> None:
    """Templates are not type-checked: `n` may be anything."""
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError("n must be a whole number")


def _room(limit: int, marker_size: int, *, what: str, size: str) -> int:
    if limit <= marker_size:
        raise ValueError(
            f"{what} has no room for the marker, which takes {size}: ask for more, or give a shorter marker"
        )
    return limit - marker_size


def _cut(kept: str, following: str) -> str:
    """`kept` without its ragged end. `following` is the first character that did not fit."""
    earliest = len(kept) - int(len(kept) * _BACK_BY)
    if following.isspace():
        return kept.rstrip()
    for pauses in _PAUSES:
        ends = [found + len(pause) for pause in pauses if (found := kept.rfind(pause, earliest)) >= 0]
        if ends:
            return kept[: max(ends)].rstrip()
    return _whole_characters(kept, following)


def _whole_characters(kept: str, following: str) -> str:
    """`kept` without a last letter whose accents or joined parts were cut off."""
    while (
        kept and following and (unicodedata.combining(following) or following in "\u200d\ufe0f" or kept[-1] == "\u200d")
    ):
        following = kept[-1]
        kept = kept[:-1]
    return kept
