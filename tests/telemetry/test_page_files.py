"""The page's files: what they may do, and that they can be read."""

import re
from importlib import resources

import pytest

from tunemill.telemetry.http.page import routes

FILES = resources.files("tunemill.telemetry.http.page")
SCRIPTS = ("page.js", "paint.js", "charts.js", "answers.js")
CONTRAST_MIN = 4.5  # of text, in WCAG 2.2 at level AA
_SINKS = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b|DOMParser")


def _text(name: str) -> str:
    return FILES.joinpath(name).read_text("utf-8")


def _palettes() -> list[dict[str, str]]:
    """The colours by name, in the light and in the dark."""
    blocks = re.findall(r":root \{(.*?)\}", _text("page.css"), re.DOTALL)
    return [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in blocks]


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    lower, higher = sorted((_luminance(one), _luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_makes_markup_of_a_text(script: str) -> None:
    """What could do it is used nowhere."""
    assert _SINKS.findall(_text(script)) == []


@pytest.mark.parametrize("text", ["ink", "soft", "good", "warn", "bad"])
@pytest.mark.parametrize("ground", ["paper", "card", "wash"])
def test_every_text_stands_out(text: str, ground: str) -> None:
    """In the light and in the dark."""
    palettes = _palettes()
    assert len(palettes) == 2
    for palette in palettes:
        assert _contrast(palette[text], palette[ground]) >= CONTRAST_MIN, (text, ground)


def test_every_file_of_the_page_is_served() -> None:
    """And no other."""
    there = {entry.name for entry in FILES.iterdir() if entry.name.endswith((".html", ".css", ".js", ".svg"))}
    assert there == set(routes._FILES)
