"""The report: what was measured, kept as data in results.json and rendered as RESULTS.md. Pure but for `keep`.

A part that is measured again replaces itself alone, so each part carries its own date, duration and versions.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.frame import Figure, Part

BENCH = Path(__file__).parent
RESULTS = "RESULTS.md"
DATA = "results.json"
PACKAGES = ("tunemill", "openai", "aiohttp", "uvloop", "orjson")
VERDICTS: Mapping[bool | None, str] = {True: "holds", False: "**short**", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure as it is shown: every cell a text but the verdict."""

    name: str
    measured: str
    limit: str
    peer: str
    note: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part as it was measured. `problem` says why it came to no end, where it did not."""

    name: str
    title: str
    about: str
    setting: str
    rows: Sequence[Row]
    problem: str = ""


def section(
    name: str, part: Part, figures: Iterable[Figure], *, seconds: float, form: str, problem: str = ""
) -> Section:
    """What one part came to, with the machine and the versions of this moment."""
    return Section(
        name=name,
        title=part.title,
        about=part.about,
        setting=f"{form} form, {seconds:,.0f} s, {setting()}",
        rows=[row(figure) for figure in figures],
        problem=problem,
    )


def setting() -> str:
    """Date, machine and versions."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"
    return f"{moment}; {machine}; Python {platform.python_version()}, {versions}; commit {_commit()}"


def row(figure: Figure) -> Row:
    """A figure, rounded to what a reader can use. A spread over rounds is shown behind the median."""
    limit = "" if figure.limit is None else f"{figure.limit.side} {number(figure.limit.bound)}"
    peer = "" if figure.peer is None else f"{figure.peer.name}: {number(figure.peer.measured)}"
    spread = f" ({number(min(figure.values))} to {number(max(figure.values))})" if len(figure.values) > 1 else ""
    return Row(
        name=figure.name,
        measured=f"{number(figure.measured)} {figure.unit}{spread}",
        limit=limit,
        peer=peer,
        note=figure.note,
        holds=figure.holds,
    )


def number(value: float) -> str:
    """With the digits that mean something: 1,335, 97.4, 0.812, 0.0031."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def line(shown: Row) -> str:
    """A figure in one line, for a terminal."""
    beside = ", ".join(filter(None, (shown.limit, shown.peer)))
    verdict = VERDICTS[shown.holds].strip("*")
    return "  ".join(filter(None, (f"{shown.name}: {shown.measured}", f"({beside})" if beside else "", verdict)))


def markdown(sections: Sequence[Section]) -> str:
    """The whole page."""
    return "\n".join(_page(sections)) + "\n"


def _page(sections: Sequence[Section]) -> Iterator[str]:
    limited = [(part, shown) for part in sections for shown in part.rows if shown.holds is not None]
    short = [(part, shown) for part, shown in limited if not shown.holds]
    yield "# What tunemill does on one machine"
    yield ""
    yield (
        "Written by `make bench` (`python -m bench --write`). Medians, with the span of the rounds in "
        "brackets; a peer did the same work in the same rounds. Client and servers share one machine."
    )
    yield ""
    yield f"{len(limited) - len(short)} of {len(limited)} limits hold."
    if short:
        yield ""
        yield "Short of their limits:"
        yield ""
        yield from (f"- {part.title}: {shown.name}: {shown.measured}, {shown.limit}" for part, shown in short)
    for part in sections:
        yield ""
        yield from _section(part)


def _section(part: Section) -> Iterator[str]:
    yield f"## {part.title}"
    yield ""
    yield part.about
    yield ""
    if part.rows:
        yield "| | measured | limit | | beside |"
        yield "|---|---|---|---|---|"
        yield from (
            f"| {_cell(shown.name)} | {_cell(shown.measured)} | {_cell(shown.limit)} | {VERDICTS[shown.holds]} "
            f"| {_cell(shown.peer)} |"
            for shown in part.rows
        )
        yield ""
    yield from (f"- {shown.name}: {shown.note}" for shown in part.rows if shown.note)
    if any(shown.note for shown in part.rows):
        yield ""
    if part.problem:
        yield f"**Not measured to its end:** {part.problem}"
        yield ""
    yield f"`python -m bench {part.name}`, {part.setting}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# -- kept --------------------------------------------------------------------------------------------------------------


def keep(measured: Sequence[Section], order: Sequence[str], folder: Path = BENCH) -> None:
    """Replace these parts in the folder's data and render its page anew. A part that is no more leaves both."""
    sections = {part.name: part for part in (*stored(folder), *measured)}
    kept = [sections[name] for name in order if name in sections]
    data = json.dumps([_plain(part) for part in kept], indent=1, ensure_ascii=False) + "\n"
    (folder / DATA).write_text(data, encoding="utf-8")
    (folder / RESULTS).write_text(markdown(kept), encoding="utf-8")


def stored(folder: Path = BENCH) -> list[Section]:
    """What the folder's data holds; nothing where there is none yet."""
    if not (folder / DATA).exists():
        return []
    return [_parsed(found) for found in json.loads((folder / DATA).read_text(encoding="utf-8"))]


def _plain(part: Section) -> dict[str, Any]:
    rows = [{key: getattr(shown, key) for key in Row.__slots__} for shown in part.rows]
    return {**{key: getattr(part, key) for key in Section.__slots__}, "rows": rows}


def _parsed(found: dict[str, Any]) -> Section:
    return Section(**{**found, "rows": [Row(**shown) for shown in found["rows"]]})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    git = ["git", "-C", str(BENCH), "describe", "--always", "--dirty", "--exclude=*"]
    shown = subprocess.run(git, capture_output=True, text=True, check=False)
    return shown.stdout.strip() or "unknown"
