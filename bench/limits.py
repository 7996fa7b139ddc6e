"""Limits that are known, learned, found and changed: how much of them is used and how much is refused, on the wire.

Each scene has a simulator and a run of its own. What is told comes from the simulator's books alone, by its own clock,
between two readings: what it admitted against what its limit would have allowed, and how many it refused.
"""

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bench.frame import Figure, Limit, Options, Part, at_least, at_most
from bench.recipes import table_recipe
from bench.running import client_environment, run_command, started
from bench.servers import Simulator, fetch, simulator

FIRST_REQUEST_S = 60.0
KNOWN = (at_least(98), at_most(1))
FOUND = (at_least(85), at_most(20))
UNIFORM = (800,)
MIXED = (200, 800, 3000, 12_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One server with its limits a minute, and one run. `known` says whether the recipe has the limits, too.

    After `settle_s` seconds from the first request `change` is made, if there is one, and `follow_s` seconds later the
    measuring begins, which lasts `measure_s`. Refusals are counted from `refused_from_start` on or from then.
    """

    name: str
    requests: float | None = None
    tokens: float | None = None
    serve: Sequence[str] = ()
    known: bool = True
    characters: Sequence[int] = UNIFORM
    max_tokens: int = 300
    concurrency: int = 2000
    settle_s: float = 10.0
    change: Mapping[str, object] = field(default_factory=dict)
    follow_s: float = 0.0
    measure_s: float = 40.0
    limits: tuple[Limit, Limit] = KNOWN
    from_start: bool = False
    quick: bool = False

    def arguments(self) -> Iterator[str]:
        """Of the simulator."""
        yield from self.serve
        if self.requests is not None:
            yield from ("--requests-per-minute", str(self.requests))
        if self.tokens is not None:
            yield from ("--tokens-per-minute", str(self.tokens))

    def recipe_limits(self) -> Iterator[str]:
        """Of the recipe, as TOML."""
        yield f"concurrency = {self.concurrency}"
        if self.known and self.requests is not None:
            yield f"requests_per_minute = {self.requests}"
        if self.known and self.tokens is not None:
            yield f"tokens_per_minute = {self.tokens}"


def _latency(seconds: float) -> tuple[str, ...]:
    return ("--latency-s", str(seconds), "--output-tokens", "60")


SILENT = ("--no-limit-headers",)
SCENES = (
    Scene(name="3,000 requests/min, answers in 0.2 s", requests=3000, serve=_latency(0.2), quick=True),
    Scene(name="3,000 requests/min, answers in 2 s", requests=3000, serve=_latency(2)),
    Scene(name="1,500 requests/min, answers in 20 s", requests=1500, serve=_latency(20), settle_s=25.0),
    Scene(name="1,000,000 tokens/min, uniform", tokens=1e6, serve=_latency(1)),
    Scene(name="1,500,000 tokens/min, mixed", tokens=1.5e6, serve=_latency(1), characters=MIXED, quick=True),
    Scene(
        name="1,500,000 tokens/min, mixed, answers in 20 s",
        tokens=1.5e6, serve=_latency(20), characters=MIXED, settle_s=25.0,
    ),
    Scene(
        name="tokens counted as the larger of prompt and max_tokens, mixed",
        tokens=1.5e6, serve=(*_latency(1), "--admission", "larger"), characters=MIXED,
    ),
    Scene(
        name="tokens counted as really used, mixed",
        tokens=1.5e6, serve=(*_latency(1), "--admission", "usage"), characters=MIXED, settle_s=25.0,
    ),
    Scene(
        name="not in the recipe, announced, from 5 s on",
        requests=3000, serve=_latency(1), settle_s=5.0, known=False, limits=KNOWN,
    ),
    Scene(
        name="3,000 requests/min, neither in the recipe nor announced",
        requests=3000, serve=(*_latency(1), *SILENT),
        settle_s=40.0, from_start=True, quick=True, known=False, limits=FOUND,
    ),
    Scene(
        name="1,500,000 tokens/min, neither in the recipe nor announced, mixed",
        tokens=1.5e6, serve=(*_latency(1), *SILENT), characters=MIXED,
        settle_s=40.0, from_start=True, known=False, limits=FOUND,
    ),
    Scene(
        name="halved, not announced, 10 s later",
        requests=3000, serve=(*_latency(1), *SILENT), settle_s=20.0, change={"requests_per_minute": 1500},
        follow_s=10.0, measure_s=15.0, from_start=True, quick=True, known=False, limits=FOUND,
    ),
    Scene(
        name="doubled, not announced, 10 s later",
        requests=1500, serve=(*_latency(1), *SILENT), settle_s=20.0, change={"requests_per_minute": 3000},
        follow_s=10.0, measure_s=15.0, from_start=True, known=False, limits=FOUND,
    ),
    Scene(
        name="doubled, announced, 10 s later",
        requests=1500, serve=_latency(1), settle_s=20.0, change={"requests_per_minute": 3000},
        follow_s=10.0, measure_s=15.0, from_start=True, known=False, limits=FOUND,
    ),
    Scene(
        name="another client takes half, 10 s later",
        requests=3000, serve=_latency(1), settle_s=20.0, change={"others_share": 0.5},
        follow_s=10.0, measure_s=15.0, from_start=True, limits=FOUND,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a scene: the share of the binding limit in per cent, and refusals of 1,000 requests."""

    share: float
    refused: float


def measure(options: Options) -> Iterator[Figure]:
    """Every scene, or a few in the quick form."""
    for number, scene in enumerate(scene for scene in SCENES if scene.quick or not options.quick):
        rounds = []
        for round_number in range(options.rounds):
            folder = options.folder / f"{number}-{round_number}"
            folder.mkdir()
            rounds.append(play(scene, folder, measure_s=options.size(round(scene.measure_s), 15)))
        share, refused = scene.limits
        yield Figure(name=f"{scene.name}: used", unit="%", values=[each.share for each in rounds], limit=share)
        values = [each.refused for each in rounds]
        yield Figure(name=f"{scene.name}: refused of 1,000", unit="", values=values, limit=refused)


def play(scene: Scene, folder: Path, *, measure_s: float) -> Measured:
    """One scene, once."""
    recipe = table_recipe(
        folder / "recipe.toml",
        table=_prompts(scene, folder / "prompts.jsonl", seconds=measure_s),
        max_tokens=scene.max_tokens,
        limits="\n".join(scene.recipe_limits()),
    )
    run = folder / "run"
    with (
        simulator(*scene.arguments()) as server,
        started(run_command(recipe, run), said=folder / "said", environment=client_environment(server.base_url)),
    ):
        _await_first(server)
        first = _books(server)
        time.sleep(scene.settle_s)
        limits = _control(server, scene.change)
        time.sleep(scene.follow_s)
        begin = _books(server)
        time.sleep(measure_s)
        end = _books(server)
    return _compared(limits, first if scene.from_start else begin, begin, end, others=limits["others_share"])


def _compared(
    limits: Mapping[str, Any], counted_from: Mapping[str, Any], begin: Mapping[str, Any], end: Mapping[str, Any], *,
    others: float,
) -> Measured:  # fmt: skip
    minutes = (end["at"] - begin["at"]) / 60 * (1 - others)
    used = [
        (end[key] - begin[key]) / (limits[limit] * minutes)
        for key, limit in (("admitted", "requests_per_minute"), ("tokens_counted", "tokens_per_minute"))
        if limits[limit] is not None
    ]
    received = end["received"] - counted_from["received"]
    return Measured(
        share=100 * max(used), refused=1000 * (end["rate_limited"] - counted_from["rate_limited"]) / max(1, received)
    )


def _prompts(scene: Scene, path: Path, *, seconds: float) -> Path:
    """As many prompts as the limits let through, and half as many again, of the scene's lengths by lot."""
    random = Random(scene.name)
    minutes = 1.5 * (scene.settle_s + scene.follow_s + seconds + 30) / 60
    each = sum(scene.characters) / len(scene.characters) / 4
    most = [
        rate for rate in (scene.requests, None if scene.tokens is None else scene.tokens / each) if rate is not None
    ]
    with path.open("w", encoding="utf-8") as file:
        for number in range(int(2 * min(most) * minutes)):
            text = f"Case {number}. ".ljust(random.choice(scene.characters), "x")
            file.write(json.dumps({"text": text}) + "\n")
    return path


def _books(server: Simulator) -> dict[str, Any]:
    """The totals, and when they were read by the server's clock."""
    return dict(json.loads(fetch(f"{server.root}/books?timed")))


def _await_first(server: Simulator) -> None:
    deadline = time.monotonic() + FIRST_REQUEST_S
    while server.received() == 0:
        assert time.monotonic() < deadline, "no request came"
        time.sleep(0.1)


def _control(server: Simulator, changes: Mapping[str, object]) -> dict[str, Any]:
    """Make the changes; the settings in force."""
    request = urllib.request.Request(server.root + "/control", json.dumps(changes).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as reply:
        settings: dict[str, Any] = json.load(reply)
    return settings


PART = Part(
    title="Limits: saturated, learned, found, followed",
    about=(
        "A run against the simulator, which enforces its limits second by second, for each line; shares and refusals "
        "are the simulator's own books' between two readings. Prompts are of 200 tokens, or mixed from 50 to 3,000, "
        "and answers of at most 300."
    ),
    measure=measure,
)
