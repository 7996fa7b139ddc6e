"""How things are printed: data on stdout, for programs as JSON, and talk on stderr."""

import contextlib
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rich.console import Console

from tunemill.telemetry import harmless, make_console, one_line

_LINE_CHARS_MAX = 4000
# Controls that JSON leaves as they are, line and paragraph separators, what is invisible or changes the direction.
_OBEYED = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e00ff]"
)
_LABEL_COLUMNS = 11


def print_json(value: Mapping[str, Any], *, indented: bool = True) -> None:
    """One JSON object on stdout."""
    option = orjson.OPT_INDENT_2 if indented else 0
    print_line(escaped_json(orjson.dumps(value, option=option).decode()))


def escaped_json(text: str) -> str:
    """The same JSON, with what a terminal would obey, or a program might take for the end of a line, as an escape."""
    return _OBEYED.sub(lambda found: json.dumps(found[0])[1:-1], text)


def print_line(line: str) -> None:
    """A line of data on stdout, as long as it is."""
    sys.stdout.write(line + "\n")


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Labels, and what is to be said of each: two columns on stdout. Nothing is in them that a terminal would obey."""
    for label, text in pairs:
        line = f"{label:<{_LABEL_COLUMNS - 1}} {one_line(text, chars_max=_LINE_CHARS_MAX)}"
        print_line(_wrapped(line, indent=_LABEL_COLUMNS) if sys.stdout.isatty() else line)


def talk(line: str) -> None:
    """A sentence for the person, on stderr, if anybody is there. Nothing in it is obeyed by a terminal."""
    said = harmless(line, chars_max=_LINE_CHARS_MAX).replace("\n", " ")
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write((_wrapped(said) if sys.stderr.isatty() else said) + "\n")


def page() -> Console:
    """A console on stdout, which interprets no markup."""
    return make_console(sys.stdout)


def _wrapped(line: str, *, indent: int = 0) -> str:
    """Broken between words where the terminal would break it anywhere."""
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
