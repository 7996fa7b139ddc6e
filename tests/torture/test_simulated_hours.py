"""Simulated hours of bad weather, run after run, each from its own seed, and what must hold always does.

A life that fails names its seed: `asyncio.run(Life(seed).live())` is that life again.
"""

import asyncio

import pytest
from tests.support.torture import Figures
from tests.torture.lives import Life

IN_SHORT = 20
PARTS = 8
IN_A_PART = 500


def lived(seeds: range) -> dict[str, float]:
    """Live all of these; how much that was."""
    processes = hours = sendings = 0.0
    for seed in seeds:
        life = Life(seed)
        try:
            asyncio.run(life.live())
        except BaseException as error:
            error.add_note(f"this is Life({seed}), after {life.hours:.2f} simulated hours")
            raise
        processes, hours, sendings = processes + life.processes, hours + life.hours, sendings + len(life.sky.sendings)
    return {"lives": len(seeds), "processes": processes, "simulated_hours": round(hours, 1), "sendings": sendings}


def test_lives_in_bad_weather(torture_seed: int, figures: Figures) -> None:
    """Outages, storms of refusals, kills, drains, a tight budget: every promise holds in each of them."""
    figures.say(**lived(range(torture_seed * 10, torture_seed * 10 + IN_SHORT)))


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_thousands_of_lives_in_bad_weather(part: int, torture_seed: int, figures: Figures) -> None:
    """The same, thousands of times."""
    first = torture_seed * 10 + IN_SHORT + part * IN_A_PART
    figures.say(**lived(range(first, first + IN_A_PART)))
