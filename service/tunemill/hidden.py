"""Text in which nothing is hidden: what cannot be seen, or turns a line around, is shown by its name.

For pages. A browser obeys no escape sequence, so that it can show one as it is; what it does obey are marks of
direction, and what it does not show are controls, invisible characters and lone surrogates.
"""

import re

# Joiners and variation selectors are not among them: letters of some scripts and many emoji are made with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
)


def unhidden(text: str) -> str:
    """`text` with ⟨U+202E⟩ and the like in place of what would be hidden, and every line end made a newline."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))
