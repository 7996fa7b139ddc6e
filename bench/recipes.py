"""Recipes to measure with: one step over a grid of up to a million different rows, or over the prompts of a file."""

import json
from pathlib import Path

ROWS_MAX = 1_000_000
PROMPT = "A line about a red cat in the rain, case {{ a }}{{ b }}{{ c }}{{ d }}{{ e }}{{ f }}."
_GRID = """\
kind = "grid"
{sample}
[source.axes]
{axes}"""
_TABLE = """\
kind = "table"
path = {path}"""
_RECIPE = """\
name = "bench"
[source]
{source}
[[steps]]
name = "line"
model = "gpt-4o-mini"
prompt = '''{prompt}'''
[steps.params]
max_tokens = {max_tokens}
[limits]
{limits}
[budget]
usd = {usd}
{more}
"""


def grid_recipe(
    path: Path,
    *,
    rows: int,
    prompt: str = PROMPT,
    max_tokens: int = 40,
    limits: str = "concurrency = 64",
    usd: float = 10_000.0,
    more: str = "",
) -> Path:
    """Write a recipe over `rows` rows of axes a to f (`a0` to `a9`, ...); `limits` are TOML lines, `more` tables."""
    assert 1 <= rows <= ROWS_MAX, f"a grid of six axes has {ROWS_MAX} cells"
    axes = "\n".join(f"{name} = {[name + str(number) for number in range(10)]}" for name in "abcdef")
    source = _GRID.format(sample="" if rows == ROWS_MAX else f"sample = {rows}", axes=axes)
    return _written(path, source, prompt=prompt, max_tokens=max_tokens, limits=limits, usd=usd, more=more)


def table_recipe(
    path: Path,
    *,
    table: Path,
    prompt: str = "{{ text }}",
    max_tokens: int = 40,
    limits: str = "concurrency = 64",
    usd: float = 10_000.0,
    more: str = "",
) -> Path:
    """Write a recipe over the lines of a JSONL file, whose prompts are its `text`."""
    source = _TABLE.format(path=json.dumps(str(table)))
    return _written(path, source, prompt=prompt, max_tokens=max_tokens, limits=limits, usd=usd, more=more)


def _written(path: Path, source: str, **rest: object) -> Path:
    path.write_text(_RECIPE.format(source=source, **rest), encoding="utf-8")
    return path
