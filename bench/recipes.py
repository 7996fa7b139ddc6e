"""Recipes to measure with: a grid of up to a million different rows and one step."""

from pathlib import Path

ROWS_MAX = 1_000_000
PROMPT = "A line about a red cat in the rain, case {{ a }}{{ b }}{{ c }}{{ d }}{{ e }}{{ f }}."
_GRID = """\
name = "bench"
[source]
kind = "grid"
{sample}
[source.axes]
{axes}
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
    sample = "" if rows == ROWS_MAX else f"sample = {rows}"
    text = _GRID.format(
        sample=sample, axes=axes, prompt=prompt, max_tokens=max_tokens, limits=limits, usd=usd, more=more
    )
    path.write_text(text, encoding="utf-8")
    return path
