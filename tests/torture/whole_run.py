"""One tiny recipe all the way (generate, build, submit, watch) in children that may be struck, and what must be true of
it afterwards, measured against the simulator's books."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.running import KEY, grid_recipe
from tests.support.simulator import Simulator
from tests.torture.nursery import Order
from tests.torture.strikes import Plan, Point, points_in

from tunemill.journal import open_for_reading
from tunemill.model import PICODOLLARS_PER_USD

ROWS = 16
CONCURRENCY = 4
BUDGET_USD = 2.0
KILLED = -9
UPLOADS = 2  # train and validation
DEADLINE_S = 100.0
MORE = f"""\
[limits]
concurrency = {CONCURRENCY}
timeout_s = 1200
[budget]
usd = {BUDGET_USD}
[pricing."gpt-4o-mini-2024-07-18"]
input_per_million = 0.15
output_per_million = 0.60
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 1
"""
NAME = "torture"
SAME_BYTES = ("train.jsonl", "validation.jsonl", "rejects.jsonl", "failed.jsonl", "inference.json")
SAME_LINES = ("metrics.csv", "events.jsonl")  # what is in them is the job's own; each line is there once


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a child ended: an exit code, the negative number of a signal, or "overdue"; and what it said."""

    code: int | str
    err: str


class Nursery:
    """Children on order: see `tests.torture.nursery`. `before` is a command that runs its arguments as a command."""

    def __init__(self, *, before: Sequence[str] = ()) -> None:
        self._before = before
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self._before, sys.executable, "-m", "tests.torture.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait()

    @property
    def pid(self) -> int:
        """Of the process that forks."""
        assert self._process is not None
        return self._process.pid

    def run(self, order: Order) -> End:
        """Let one child live to its end."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)) + "\n")
        process.stdin.flush()
        code = json.loads(process.stdout.readline())
        return End(code=code, err=Path(order.out + ".err").read_text(encoding="utf-8"))


class Bench:
    """A simulator and a nursery for many runs, each with a name, and so a folder and a fine-tuning job, of its own."""

    def __init__(self, folder: Path, simulator: Simulator, nursery: Nursery) -> None:
        self._folder = folder
        self._simulator = simulator
        self._nursery = nursery
        self._runs = 0
        self.whole: Mapping[str, object] = {}
        self.points: list[Point] = []

    def run_whole(self) -> None:
        """The uninterrupted run: what the others are compared with, and its points."""
        case = self.case()
        end = case.run(Plan(root=case.root, shadow=case.shadow, log=case.log))
        assert end.code == 0, end
        case.check()
        self.points = points_in(Path(case.log))
        self.whole = case.files()

    def points_of_recovery(self) -> list[Point]:
        """Those of a run that goes on where another was killed with half a line of the journal written."""
        case = self.case()
        torn = [point for point in self.points if point.name.startswith("write journal/0") and point.when == "half"]
        assert case.run(case.plan(torn[len(torn) // 2])).code == KILLED
        assert case.run(Plan(root=case.root, shadow=case.shadow, log=case.log)).code == 0
        return points_in(Path(case.log))

    def case(self) -> "Case":
        """A run that has not begun; the books are new."""
        self._runs += 1
        self._simulator.reset_books()
        folder = self._folder / f"case{self._runs}"
        (folder / "shadow").mkdir(parents=True)
        recipe = grid_recipe(folder / "recipe.toml", rows=ROWS, max_tokens=60, more=MORE)
        name = f"{NAME}-{self._runs}"
        text = recipe.read_text(encoding="utf-8").replace('"acceptance"', f'"{name}"')
        recipe.write_text(text, encoding="utf-8")
        return Case(self, name, folder, self._simulator, self._nursery)


class Case:
    """One run folder, over as many processes as it takes."""

    def __init__(self, bench: Bench, name: str, folder: Path, simulator: Simulator, nursery: Nursery) -> None:
        self._bench = bench
        self._name = name
        self._folder = folder
        self._simulator = simulator
        self._nursery = nursery
        self._children = 0
        self.root = str(folder / "r")
        self.shadow = str(folder / "shadow")
        self.log = str(folder / "points")

    def plan(self, point: Point, *, power_seed: int | None = None, error: str = "") -> Plan:
        """Strike at this point."""
        return Plan(root=self.root, shadow=self.shadow, log=self.log, point=point, power_seed=power_seed, error=error)

    def run(self, plan: Plan | None = None, *, run_dir: Path | None = None, file_bytes_max: int | None = None) -> End:
        """`tunemill run`, once."""
        self._children += 1
        order = Order(
            args=["run", str(self._folder / "recipe.toml"), "--run-dir", str(run_dir or self.root)],
            cwd=str(self._folder),
            env={"OPENAI_BASE_URL": self._simulator.base_url, "OPENAI_API_KEY": KEY},
            out=str(self._folder / f"child{self._children}"),
            deadline_s=DEADLINE_S,
            plan=None if plan is None else plan.to_json(),
            file_bytes_max=file_bytes_max,
        )
        return self._nursery.run(order)

    def files(self, root: Path | None = None) -> dict[str, object]:
        """What the run made, without its own name, which differs from case to case."""
        folder = root or Path(self.root)
        content = {name: (folder / name).read_bytes() for name in (*SAME_BYTES, *SAME_LINES)}
        made: dict[str, object] = {
            name: content[name].replace(self._name.encode(), NAME.encode()) for name in SAME_BYTES
        }
        for name in SAME_LINES:
            lines = content[name].splitlines()
            assert len(set(lines)) == len(lines), (name, lines)
            made[name] = len(lines)
        return made

    def check(self, *, kills: int = 0, root: Path | None = None) -> None:
        """What must be true of a run that came to its end after so many kills."""
        folder = root or Path(self.root)
        books = self._simulator.books()
        assert books["distinct_bodies_billed"] == ROWS, books
        assert books["billed_twice"] <= kills * CONCURRENCY, books
        assert (books["jobs_created"], books["uploads"]) == (1, UPLOADS), books
        self._check_money(folder, books)
        assert _submission(folder)["status"] == "succeeded"
        if self._bench.whole:
            made = self.files(root)
            different = [name for name, content in self._bench.whole.items() if made[name] != content]
            assert not different, different

    def _check_money(self, folder: Path, books: Mapping[str, Any]) -> None:
        journal = open_for_reading(folder / "journal")
        totals = journal.totals
        journal.close()
        assert books["picodollars_billed"] <= totals.settled + totals.uncertain, (books, totals)
        training = _submission(folder)["usd"] or 0.0
        spent = (totals.settled + totals.uncertain) / PICODOLLARS_PER_USD + training
        assert spent <= BUDGET_USD, spent
        assert not totals.unresolved


def _submission(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "finetune.json").read_bytes())["summary"]
    return summary
