"""The last dollar: how much of a budget is spent when a run ends for it, by our books and by the server's.

The run has several times as many rows as its budget pays for, and ends with exit code 3. Shares are of the budget.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.frame import Figure, Options, Part, at_least, at_most
from bench.recipes import grid_recipe
from bench.running import client_environment, run_command, started, status, tunemill_run
from bench.servers import simulator

OUTPUT_USD = 0.6e-6  # gpt-4o-mini, a token
BUDGET_REACHED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How much is written and allowed, what goes wrong, and how often the run is killed."""

    name: str
    output_tokens: int
    max_tokens: int
    faults: Sequence[str] = ()
    kills: int = 0
    latency_s: float = 0.1


CASES = (
    Case(name="long completions", output_tokens=900, max_tokens=1_000),
    Case(name="max_tokens 20 times what is used", output_tokens=100, max_tokens=2_000),
    Case(name="outcomes in doubt", output_tokens=200, max_tokens=400, faults=("--fault", "all=0.01")),
    Case(name="three kill -9", output_tokens=200, max_tokens=400, kills=3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Shares of the budget, in per cent: what counts against it, and what the server billed."""

    counted: float
    billed: float


def spent(case: Case, options: Options, folder: Path) -> Spent:
    """One run to the end of its budget. Raises ProcessFailed where it ends otherwise."""
    requests = options.size(3_000, 1_000)
    budget = requests * case.output_tokens * OUTPUT_USD
    folder.mkdir()
    recipe = grid_recipe(
        folder / "recipe.toml",
        rows=6 * requests,
        max_tokens=case.max_tokens,
        limits="concurrency = 64\nattempts_max = 20\ntimeout_s = 2",
        usd=round(budget, 6),
    )
    speed = ("--latency-s", str(case.latency_s), "--output-tokens", str(case.output_tokens))
    with simulator(*speed, *case.faults) as server:
        command, environment = run_command(recipe, folder / "run"), client_environment(server.base_url)
        for kill in range(1, case.kills + 1):
            with started(command, said=folder / "said", environment=environment) as running:
                while server.received() < requests * kill / (case.kills + 1) and not running.ended:
                    time.sleep(random.uniform(0.02, 0.1))
            # The end of the block kills it.
        tunemill_run(recipe, folder / "run", server=server.base_url, exit_codes=(BUDGET_REACHED,))
        billed = float(server.books()["usd_billed"])
    money = status(folder / "run")["usd"]
    assert isinstance(money, dict)
    counted = money["settled"] + money["uncertain"]
    return Spent(counted=100 * counted / round(budget, 6), billed=100 * billed / round(budget, 6))


def measure(options: Options) -> Iterator[Figure]:
    """Every case in every round."""
    for number, case in enumerate(CASES):
        rounds = [spent(case, options, options.folder / f"{number}-{turn}") for turn in range(options.rounds)]
        counted = [one.counted for one in rounds]
        yield Figure(name=f"{case.name}: settled and uncertain", unit="%", values=counted, limit=at_least(97))
        yield Figure(name=f"{case.name}: the most of any round", unit="%", values=[max(counted)], limit=at_most(100))
        billed = [one.billed for one in rounds]
        yield Figure(name=f"{case.name}: billed by the server", unit="%", values=billed, limit=at_most(100))


PART = Part(
    title="The last dollar",
    about=(
        "Runs of several times as many rows as their budget pays for, 64 requests at once, to the end of the budget; "
        "shares of the budget, by the run's own status and by the server's books."
    ),
    measure=measure,
)
