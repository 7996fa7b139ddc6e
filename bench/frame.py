"""What a part of the benchmark is, and what it hands over: figures as data.

A part is a module `bench/NAME.py` that ends up in the report by defining

    PART = Part(title="The limits, saturated", about="One sentence: what was done, with which configuration.",
                measure=measure)

    def measure(options: Options) -> Iterator[Figure]:
        with simulator("--requests-per-minute", "3000", cores=SERVER_CORES) as server:          # bench/servers.py
            recipe = grid_recipe(options.folder / "recipe.toml", rows=2_000, limits="...")      # bench/recipes.py
            usage = tunemill_run(recipe, options.folder / "run", server=server.base_url)        # bench/running.py
        yield Figure(name="share of 3,000 requests/min", unit="%", values=[...], limit=at_least(98))

and is run by `python -m bench NAME [--quick] [--rounds N] [--write]`; its name stands in `bench/__main__.py`.
Figures are yielded as they come and are shown at once. Nothing is hidden: a figure that falls short of its limit is
yielded like any other, and shown as short. The machine is noisy: measure in rounds (`options.rounds`), hand over every
round's value, and compare with a peer only what was measured in the same round.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure. `folder` is empty, the part's own, and removed afterwards."""

    folder: Path
    quick: bool = False  # a short form, so that all parts together take below five minutes
    rounds: int = 3

    def size(self, full: int, quick: int) -> int:
        """A number of rows, calls or seconds, by form."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The bound that a figure is to keep, in the figure's unit; the bound itself keeps it."""

    side: Side
    bound: float

    def holds(self, measured: float) -> bool:
        """Whether the bound is kept."""
        return measured >= self.bound if self.side == "at least" else measured <= self.bound


def at_least(bound: float) -> Limit:
    """More is better."""
    return Limit(side="at least", bound=bound)


def at_most(bound: float) -> Limit:
    """Less is better."""
    return Limit(side="at most", bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whoever did the same work in the same rounds, in the figure's unit."""

    name: str
    values: Sequence[float]

    @property
    def measured(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing. Raises ValueError where nothing was measured.

    `values` has each round's, in `unit` (`requests/s`, `s`, `MiB`, `%`, `x`, ...; a share is handed over in per cent).
    `name` is short and the same every time. `note` says what a reader must know to judge it.
    """

    name: str
    unit: str
    values: Sequence[float]
    limit: Limit | None = None
    peer: Peer | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values or (self.peer is not None and not self.peer.values):
            raise ValueError(f"{self.name!r} has no values; hand over at least one round's")

    @property
    def measured(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        return None if self.limit is None else self.limit.holds(self.measured)


def one(name: str, value: float, unit: str, limit: Limit | None = None, *, note: str = "") -> Figure:
    """A figure that was measured once."""
    return Figure(name=name, unit=unit, values=(value,), limit=limit, note=note)


class NotInstalled(Exception):
    """What a part needs is not on this machine. The message says what to do; the part is reported as not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the benchmark. `about` says in a sentence or two what is done; `measure` does it."""

    title: str
    about: str
    measure: Callable[[Options], Iterator[Figure]]
