"""Bodies that are JSON but for a character that nobody can write down, mended: the answer in them was paid for.

Half a surrogate pair, or half a character in UTF-8, is what a server sends that cut a text in the middle of an emoji.
It is replaced by the replacement character; all else stays as it came.
"""

import re

# An escaped backslash and a whole pair are passed over, so that what is left is really half of one.
_HALVES = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_REPLACEMENT = rb"\ufffd"


def mended(body: bytes) -> bytes:
    """The body with each half character replaced; the same bytes where there is none."""
    whole = _HALVES.sub(lambda found: found[1] or _REPLACEMENT, body)
    try:
        whole.decode()
    except UnicodeDecodeError:
        return whole.decode(errors="replace").encode()
    return whole
