"""What the tests of the fine-tuning stage share: a clock that they own, an ear for events, and a small dataset."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from tunemill.clock import Timer
from tunemill.events import Event, FineTuneChanged
from tunemill.finetune.order import SubmitOrder
from tunemill.finetune.preflight import CheckedFile, Role
from tunemill.finetune.record import DataFile, Destination, Done, Effect, Estimate, NotBegun, Settings, Submission
from tunemill.model import Picodollars
from tunemill.recipe.sections import FineTuneSection

RUN = "movie-plots"
MODEL = "gpt-4o-mini-2024-07-18"
PRICE: Picodollars = 3_000_000  # $3 a million tokens
HERE = Destination(base_url="http://127.0.0.1:1/v1", simulated=False)
WALL_S = 1_795_000_000.0  # 2026-11-18


class SkippingClock:
    """A clock on which waiting takes no real time beyond `real_s`, which is what a real server may need to move on."""

    def __init__(self, real_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []
        self._real_s = real_s

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return WALL_S + self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.waits_s.append(seconds)
        await asyncio.sleep(self._real_s)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.now_s += seconds
        return asyncio.get_running_loop().call_soon(callback)


class Ear:
    """Remembers the events of the stage."""

    def __init__(self) -> None:
        self.heard: list[FineTuneChanged] = []

    def __call__(self, event: Event) -> None:
        assert isinstance(event, FineTuneChanged)
        self.heard.append(event)

    def messages(self, what: str) -> list[str]:
        return [event.message for event in self.heard if event.what == what]


def write_dataset(folder: Path, examples: int = 12, *, word: str = "plot") -> Path:
    """A chat dataset, `train.jsonl`."""
    path = folder / "train.jsonl"
    path.write_text("".join(_example(number, word) for number in range(examples)))
    return path


def write_validation(folder: Path, examples: int = 2) -> Path:
    """Its validation file."""
    path = folder / "validation.jsonl"
    path.write_text("".join(_example(number, "held out") for number in range(1000, 1000 + examples)))
    return path


def count(path: Path, role: Role) -> CheckedFile:
    """The simplest check: every line is an example of its length / 4 tokens."""
    del role
    lines = path.read_text().splitlines()
    return CheckedFile(faults=(), examples=len(lines), tokens=sum(len(line) // 4 for line in lines))


def order_of(
    train: Path,
    *,
    base_url: str = HERE.base_url,
    validation: Path | None = None,
    section: FineTuneSection | None = None,
    price: Picodollars | None = PRICE,
    left: Picodollars | None = None,
    simulated: bool = False,
) -> SubmitOrder:
    """An order for the model that the simulator knows, three epochs."""
    return SubmitOrder(
        run=RUN,
        section=section or FineTuneSection(model=MODEL, suffix="plots", n_epochs=3, seed=7),
        destination=Destination(base_url=base_url, simulated=simulated),
        train=train,
        validation=validation,
        price_per_token=price,
        budget_left=left,
    )


def data_file(sha256: str = "aa" * 32, *, size: int = 300) -> DataFile:
    return DataFile(role="train", name=f"{RUN}-train-{sha256[:12]}.jsonl", sha256=sha256, size=size)


def estimate(price: Picodollars | None = PRICE) -> Estimate:
    return Estimate(examples=12, tokens=1000, epochs=3, epochs_assumed=False, price_per_token=price)


def submission(
    creation: Effect | None = None,
    *,
    number: int = 1,
    train: DataFile | None = None,
    destination: Destination = HERE,
    is_again: bool = False,
    price: Picodollars | None = PRICE,
) -> Submission:
    return Submission(
        number=number,
        is_again=is_again,
        destination=destination,
        settings=Settings(model=MODEL, method="supervised", hyperparameters={"n_epochs": 3}, suffix="plots", seed=7),
        train=train or data_file(),
        validation=None,
        estimate=estimate(price),
        creation=creation or NotBegun(),
        jobs_before=None if is_again else (),
    )


def made(job_id: str = "ftjob-1") -> Done:
    return Done(at=WALL_S, id=job_id)


def _example(number: int, word: str) -> str:
    messages = [
        {"role": "user", "content": f"Write {word} {number}."},
        {"role": "assistant", "content": f"This is {word} {number}, in which a ship comes home."},
    ]
    return json.dumps({"messages": messages}) + "\n"
