"""A run folder, a real simulator and a gateway before it that a test can make lossy, forgetful or slow."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from tests.finetune.finetune_support import PRICE, Ear, SkippingClock, count, order_of, write_dataset
from tests.finetune.wire_support import Answered, Asked, Cut, Hang, WireServer, forward, said

from tunemill.client.fine_tuning import FineTuningTarget
from tunemill.finetune.cancel import CancelResult, cancel
from tunemill.finetune.decide import SubmitResult
from tunemill.finetune.order import SubmitOrder
from tunemill.finetune.record import FineTuneRecord
from tunemill.finetune.store import load
from tunemill.finetune.submit import submit
from tunemill.finetune.watch import Ended, WatchPace, watch
from tunemill.model import Picodollars

JOBS, FILES = "/v1/fine_tuning/jobs", "/v1/files"
Spoil: TypeAlias = Callable[[Asked, Callable[[], Answered]], Answered | Cut | Hang]


@dataclass(kw_only=True)
class World:
    """One run at one target. Each call opens a client of its own, as each process would.

    `via` is the address of a gateway before the target, "" for none.
    """

    base_url: str
    folder: Path
    run: str
    train: Path
    clock: SkippingClock = field(default_factory=SkippingClock)
    ear: Ear = field(default_factory=Ear)
    via: str = ""

    def through(self, gate: WireServer) -> "World":
        """The same run, with everything going through a gateway."""
        return replace(self, via=gate.base_url)

    def order(self, **changes: Any) -> SubmitOrder:
        return replace(order_of(self.train, base_url=self.base_url), run=self.run, **changes)

    async def submit(self, *, again: bool = False, **changes: Any) -> SubmitResult:
        async with self._target() as target:
            return await submit(
                self.order(**changes),
                target=target,
                folder=self.folder,
                check=count,
                clock=self.clock,
                emit=self.ear,
                again=again,
            )

    async def watch(self, *, price: Picodollars | None = PRICE, pace: WatchPace | None = None) -> Ended:
        async with self._target() as target:
            return await watch(
                self.folder,
                self.run,
                target=target,
                price_per_token=price,
                clock=self.clock,
                emit=self.ear,
                pace=pace,
            )

    async def cancel(self) -> CancelResult:
        async with self._target() as target:
            return await cancel(
                self.folder, self.run, target=target, price_per_token=PRICE, clock=self.clock, emit=self.ear
            )

    def record(self) -> FineTuneRecord:
        return load(self.folder, self.run)

    def jobs(self) -> list[dict[str, Any]]:
        """The run's jobs in the server's own list."""
        return [job for job in listed(self.base_url, "fine_tuning/jobs") if self._is_ours(job)]

    def files(self) -> list[dict[str, Any]]:
        """The run's uploads in the server's own list."""
        return [file for file in listed(self.base_url, "files") if file["filename"].startswith(f"{self.run}-")]

    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (self.folder / "events.jsonl").read_bytes().splitlines()]

    def curve(self) -> list[str]:
        return (self.folder / "metrics.csv").read_text().splitlines()

    def _is_ours(self, job: dict[str, Any]) -> bool:
        return job["training_file"] in {file["id"] for file in self.files()}

    def _target(self) -> "_Open":
        return _Open(FineTuningTarget(base_url=self.via or self.base_url, api_key="sk-test", clock=self.clock))


class _Open:
    def __init__(self, target: FineTuningTarget) -> None:
        self._target = target

    async def __aenter__(self) -> FineTuningTarget:
        return self._target

    async def __aexit__(self, *problem: object) -> None:
        await self._target.aclose()


def listed(base_url: str, what: str) -> list[dict[str, Any]]:
    """What a server lists, asked for without any of our code."""
    with urllib.request.urlopen(f"{base_url}/{what}?limit=100", timeout=30) as reply:
        data: list[dict[str, Any]] = json.load(reply)["data"]
        return data


def world(base_url: str, folder: Path, run: str) -> World:
    """A run of its own: another name and other bytes than any other test's."""
    return World(base_url=base_url, folder=folder, run=run, train=write_dataset(folder, word=run))


@contextmanager
def gateway(base_url: str, spoil: Spoil) -> Iterator[WireServer]:
    """A server that passes everything on, through `spoil`, which may call the real one or not."""
    with WireServer(lambda asked: spoil(asked, lambda: forward(asked, base_url))) as server:
        yield server


class LostReplies:
    """The first so many replies to a POST are lost after the server did what was asked."""

    def __init__(self, **counts: int) -> None:
        self._left = {FILES: counts.get("upload", 0), JOBS: counts.get("create", 0)}

    def __call__(self, asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        answer = real()
        if asked.method == "POST" and self._left.get(asked.path, 0):
            self._left[asked.path] -= 1
            return Cut()
        return answer


class Lagging:
    """Lists show nothing for the first so many looks after a POST; replies to the first POST of each kind are lost."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._lose = LostReplies(upload=1, create=1)
        self._blind = {FILES: 0, JOBS: 0}

    def __call__(self, asked: Asked, real: Callable[[], Answered]) -> Answered | Cut:
        answer = self._lose(asked, real)
        if asked.method == "POST" and asked.path in self._blind:
            self._blind[asked.path] = self._looks
        elif asked.method == "GET" and self._blind.get(asked.path, 0):
            self._blind[asked.path] -= 1
            return said({"object": "list", "data": [], "has_more": False})
        return answer


def without_metadata(asked: Asked, real: Callable[[], Answered]) -> Answered:
    """A server that drops the metadata of its jobs."""
    answer = real()
    if not asked.path.startswith(JOBS) or answer.status != 200 or b"metadata" not in answer.body:
        return answer
    shown = answer.json
    for job in shown.get("data", [shown]):
        job.pop("metadata", None)
    return said(shown)
