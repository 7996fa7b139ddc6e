"""What more cores bring: `run --processes 2` beside the same run that sends from its own process, against a server that
answers at once.

In every round the two follow each other, on all cores; nginx has to have some of these, too, so that with two cores
there is never a whole one for each process. So two things are told. The speed-up is what came of it here. What the
brain allows is how much less processor time the one process needs that decides and writes everything down when others
send: with cores enough for the others, no more can come of it, and little less.
"""

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.frame import Figure, Options, Part, Peer, at_least
from bench.recipes import grid_recipe
from bench.running import ALL_CORES, client_environment, run_command, started
from bench.servers import COMPLETION, Nginx, nginx

PROCESSES = 2
SPEED_UP_MIN = 1.8
AT_ONCE = 128
LIMITS = f"requests_per_minute = 60_000_000\ntokens_per_minute = 60_000_000_000\nconcurrency = {AT_ONCE}"
TOKENS = 200
LOOK_S = 0.05
# Answers of 60 kB: what asking for log probabilities brings, with five alternatives for each token.
LONG_ANSWER = {
    **COMPLETION,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The red cat waits under the eaves. " * 20, "refusal": None},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {
                        "token": " cat",
                        "logprob": -0.0214,
                        "top_logprobs": [{"token": f" {of}", "logprob": -of / 7} for of in range(5)],
                    }
                    for _ in range(TOKENS)
                ]
            },
        }
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to send to. `rows` are those of the full and of the quick form."""

    name: str
    completion: Mapping[str, object]
    tls: bool
    rows: tuple[int, int]


CASES = (
    Case(name="small answers", completion=COMPLETION, tls=False, rows=(20_000, 4_000)),
    Case(name="60 kB answers over TLS", completion=LONG_ANSWER, tls=True, rows=(8_000, 2_000)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One run: how fast, and what each request took of the brain's and of the executors' processor time (ms)."""

    rate: float
    brain_ms: float
    executors_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Processor time in seconds, start-up included, of a run's own process and of those that it started."""

    brain_s: float
    executors_s: float


def measure(options: Options) -> Iterator[Figure]:
    """About a minute a round."""
    for case in CASES:
        alone, others = [], []
        for number in range(options.rounds):
            folder = options.folder / f"{case.name}-{number}"
            folder.mkdir()
            alone.append(_run(case, folder, options, processes=1))
            others.append(_run(case, folder, options, processes=PROCESSES))
        yield from _figures(case, alone, others)


def _figures(case: Case, alone: Sequence[Done], others: Sequence[Done]) -> Iterator[Figure]:
    pairs = list(zip(alone, others, strict=True))
    yield Figure(
        name=f"{case.name}, --processes {PROCESSES}",
        unit="requests/s",
        values=[each.rate for each in others],
        peer=Peer(name="one process", values=[each.rate for each in alone]),
    )
    yield Figure(
        name=f"{case.name}, speed-up",
        unit="x",
        values=[both.rate / one.rate for one, both in pairs],
        limit=at_least(SPEED_UP_MIN),
        note=f"{len(ALL_CORES)} cores for the brain, {PROCESSES} executors and nginx",
    )
    yield Figure(
        name=f"{case.name}, speed-up that the brain allows",
        unit="x",
        values=[one.brain_ms / both.brain_ms for one, both in pairs],
        note="its processor time of a request when it sends itself, by that when others do",
    )
    executors_ms = statistics.median(each.executors_ms for each in others)
    yield Figure(
        name=f"{case.name}, brain's processor time of a request",
        unit="ms",
        values=[each.brain_ms for each in others],
        peer=Peer(name="one process", values=[each.brain_ms for each in alone]),
        note=f"and {executors_ms:.2f} ms in the executors",
    )


def _run(case: Case, folder: Path, options: Options, *, processes: int) -> Done:
    """A run, less what a run of one row takes."""
    rows = options.size(*case.rows)
    with nginx(completion=case.completion, tls=case.tls) as server:
        edges = _seen(server, folder / f"edges-{processes}", rows=1, processes=processes)
        began = time.time()
        whole = _seen(server, folder / f"run-{processes}", rows=rows, processes=processes)
        assert len(server.moments(began)) == rows, "every request once"
        seconds = server.window_s(began)
    return Done(
        rate=rows / seconds,
        brain_ms=1000 * (whole.brain_s - edges.brain_s) / (rows - 1),
        executors_ms=1000 * (whole.executors_s - edges.executors_s) / (rows - 1),
    )


def _seen(server: Nginx, folder: Path, *, rows: int, processes: int) -> Seen:
    """A run to its end. What its processes took is looked up while they are there."""
    folder.mkdir()
    recipe = grid_recipe(folder / "recipe.toml", rows=rows, limits=LIMITS)
    environment = client_environment(server.base_url)
    if server.certificate is not None:
        environment["SSL_CERT_FILE"] = str(server.certificate)
    command = run_command(recipe, folder / "run", "--processes", str(processes))
    executors: dict[int, float] = {}
    with started(command, said=folder / "said", cores=ALL_CORES, environment=environment) as running:
        while not running.ended:
            for pid in _children(running.pid):
                executors[pid] = max(_cpu_s(pid), executors.get(pid, 0.0))
            time.sleep(LOOK_S)
        usage = running.wait()
    assert usage.exit_code == 0, running.stderr()
    executors_s = sum(executors.values())
    return Seen(brain_s=usage.cpu_s - executors_s, executors_s=executors_s)


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text(encoding="ascii").split()]
    except OSError:  # it has just ended
        return []


def _cpu_s(pid: int) -> float:
    """Processor time so far; 0 where the process has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PART = Part(
    title="More cores",
    about=(
        f"`run --processes {PROCESSES}` beside the same run with one process, against nginx, which answers at once; "
        f"{AT_ONCE} requests at once; all of it on the same cores."
    ),
    measure=measure,
)
