"""A small recipe that loads, and ways to spoil it."""

from pathlib import Path

GOOD = """\
name = "r"
[source]
kind = "grid"
[source.axes]
genre = ["horror", "western"]
[[steps]]
name = "outline"
model = "gpt-4o-mini"
prompt = "Plot a {{ genre }} film."
[steps.params]
max_tokens = 100
[budget]
usd = 1.0
[train]
user = "{{ genre }}"
assistant = "{{ outline }}"
"""


def changed(old: str, new: str, text: str = GOOD) -> str:
    """`text` with `old` replaced, which must be in it."""
    assert old in text, old
    return text.replace(old, new)


def write(folder: Path, text: str = GOOD, name: str = "recipe.toml") -> Path:
    """The recipe as a file in `folder`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
