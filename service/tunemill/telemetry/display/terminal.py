"""The terminal itself: what it does by its own."""

import contextlib
import sys
import termios
from collections.abc import Iterator
from typing import Any

_LOCAL_MODES = 3  # of the list that termios gives


@contextlib.contextmanager
def without_caret_c() -> Iterator[None]:
    """Keep the terminal from writing ^C and the like into what is redrawn in place, which would shift it by a line.

    Does nothing where stdin is no terminal.
    """
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError):
        yield
        return
    modes = [*before]
    modes[_LOCAL_MODES] &= ~termios.ECHOCTL
    _set(modes)
    try:
        yield
    finally:
        _set(before)


def _set(modes: list[Any]) -> None:  # numbers and a list of characters, as termios gave them
    with contextlib.suppress(termios.error, OSError, ValueError):
        termios.tcsetattr(sys.stdin, termios.TCSANOW, modes)
