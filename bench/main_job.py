"""The main job at scale, measured on this machine: `make bench`, or `python bench/main_job.py --help`.

One simulator without latency answers everybody. In each round a small run and a large one are measured, the large one
between two loops of bare SDK calls to the same server, and then the finished large run is started again. Whole
processes are measured, start-up and end included. The machine is never quiet, so that of several rounds the median
counts, and rates are compared only within a round.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

BENCH = Path(__file__).parent
RESULTS = BENCH / "RESULTS.md"
PEERS = {"default": "bare AsyncOpenAI, default transport", "aiohttp": "bare AsyncOpenAI, aiohttp transport"}
RESUMES = 3
PACKAGES = ("tunemill", "openai", "aiohttp", "httpx2", "orjson")
GROWTH_MIB_MAX = 40
RESUME_S_MAX = 5
RATIO_MIN = 1.5

RECIPE = """\
name = "bench"
[source]
kind = "grid"
sample = {rows}
[source.axes]
{axes}
[[steps]]
name = "line"
model = "gpt-4o-mini"
prompt = "A line about a red cat in the rain, case {{{{ a }}}}{{{{ b }}}}{{{{ c }}}}{{{{ d }}}}{{{{ e }}}}{{{{ f }}}}."
[steps.params]
max_tokens = 40
[limits]
concurrency = {at_once}
[budget]
usd = 10_000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one process did: how many requests it made, how long it took, what it needed."""

    requests: int
    seconds: float
    cpu_s: float
    max_rss_mib: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of a request."""
        return 1000 * self.cpu_s / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Everything that was measured within about a minute."""

    small: Figures
    large: Figures
    resumed: Sequence[Figures]
    peers: Mapping[str, Sequence[Figures]]

    def ratio(self, peer: str) -> float:
        """The large run's rate, compared with the mean of the peer's before and after it."""
        return self.large.rate / statistics.mean(figures.rate for figures in self.peers[peer])


def main() -> None:
    """Measure and print; with --write also to bench/RESULTS.md."""
    arguments = _arguments()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="tunemill-bench-") as folder:
        for number in range(arguments.rounds):
            with _simulator() as base_url:
                rounds.append(_measured(arguments, Path(folder) / str(number), base_url))
            sys.stderr.write(f"round {number + 1} of {arguments.rounds} done\n")
    text = "\n".join(_report(arguments, rounds)) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The main job at scale, measured on this machine.")
    parser.add_argument("--rows", type=int, default=100_000, help="of the large run (at most 1,000,000)")
    parser.add_argument("--small", type=int, default=1_000, help="rows of the small run")
    parser.add_argument("--calls", type=int, default=4_000, help="of each bare loop")
    parser.add_argument("--at-once", type=int, default=64, help="requests under way, in runs and loops")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}, too")
    return parser.parse_args()


# -- measuring -------------------------------------------------------------------------------------------------------


def _measured(arguments: argparse.Namespace, folder: Path, base_url: str) -> Round:
    folder.mkdir()
    environment = {**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "bench"}

    def run(rows: int, requests: int) -> Figures:
        recipe = folder / f"{rows}.toml"
        axes = "\n".join(f"{name} = {[name + str(number) for number in range(10)]}" for name in "abcdef")
        recipe.write_text(RECIPE.format(rows=rows, axes=axes, at_once=arguments.at_once), encoding="utf-8")
        command = [sys.executable, "-m", "tunemill", "run", str(recipe), "--until", "generate"]
        command += ["--log-level", "warning", "--run-dir", str(folder / f"run-{rows}")]
        before = _received(base_url)
        figures = _process(command, environment, requests)
        assert _received(base_url) - before == requests, "every request once"
        return figures

    def bare(peer: str) -> Figures:
        loop = [sys.executable, str(BENCH / "bare_loop.py"), base_url, str(arguments.calls), str(arguments.at_once)]
        figures = json.loads(subprocess.check_output([*loop, peer]))
        return Figures(requests=arguments.calls, **figures)

    small = run(arguments.small, arguments.small)
    before = {peer: bare(peer) for peer in PEERS}
    large = run(arguments.rows, arguments.rows)
    peers = {peer: (before[peer], bare(peer)) for peer in PEERS}
    resumed = [run(arguments.rows, 0) for _ in range(RESUMES)]
    return Round(small=small, large=large, resumed=resumed, peers=peers)


def _process(command: Sequence[str], environment: Mapping[str, str], requests: int) -> Figures:
    started = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environment))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return Figures(
        requests=requests,
        seconds=seconds,
        cpu_s=usage.ru_utime + usage.ru_stime,
        max_rss_mib=usage.ru_maxrss / 1024,
    )


@contextlib.contextmanager
def _simulator() -> Iterator[str]:
    """The embedded server without latency; its base URL."""
    command = [sys.executable, "-m", "tunemill.local", "--backend", "simulator", "--port", "0", "--latency-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


def _received(base_url: str) -> int:
    """How many requests the server has seen."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/books", timeout=30) as reply:
        return int(json.load(reply)["received"])


# -- telling ---------------------------------------------------------------------------------------------------------


def _report(arguments: argparse.Namespace, rounds: Sequence[Round]) -> Iterator[str]:
    yield "# The main job at scale"
    yield ""
    yield f"`python bench/main_job.py {' '.join(sys.argv[1:])}`".replace(" `", "`")
    yield ""
    yield (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores shared by client and server, "
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )
    yield ""
    yield f"Median of {len(rounds)} rounds; {arguments.at_once} requests at once; answers without latency."
    yield ""
    yield "| | requests/s | CPU ms a request | largest resident MiB |"
    yield "|---|---|---|---|"
    yield _line(f"`tunemill run`, {arguments.rows:,} rows", [of_one.large for of_one in rounds])
    yield _line(f"`tunemill run`, {arguments.small:,} rows", [of_one.small for of_one in rounds])
    for peer, name in PEERS.items():
        yield _line(name, [figures for of_one in rounds for figures in of_one.peers[peer]])
    yield ""
    yield "| | measured | limit |"
    yield "|---|---|---|"
    growth = [of_one.large.max_rss_mib - of_one.small.max_rss_mib for of_one in rounds]
    yield f"| memory of the large run above the small one's | {_median(growth):.1f} MiB | {GROWTH_MIB_MAX} MiB |"
    seconds = [figures.seconds for of_one in rounds for figures in of_one.resumed]
    yield f"| starting the finished large run again | {_median(seconds):.2f} s | {RESUME_S_MAX} s |"
    memory = [figures.max_rss_mib for of_one in rounds for figures in of_one.resumed]
    yield f"| its memory then | {_median(memory):.0f} MiB | |"
    for peer, name in PEERS.items():
        ratios = sorted(of_one.ratio(peer) for of_one in rounds)
        limit = RATIO_MIN if peer == "default" else ""
        spread = "" if len(ratios) == 1 else f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        yield f"| requests/s, compared with {name} | {_median(ratios):.2f}{spread} | {limit} |"


def _line(name: str, figures: Sequence[Figures]) -> str:
    rate, cpu_ms, memory = (
        _median([getattr(each, of) for each in figures]) for of in ("rate", "cpu_ms", "max_rss_mib")
    )
    return f"| {name} | {rate:,.0f} | {cpu_ms:.2f} | {memory:.0f} |"


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
