"""What one core can do against a server that answers at once: the whole path of a run, beside bare loops of calls.

    python bench/throughput.py [--quick] [--profile FOLDER] [--json]

The server and the client have a core each. In every round the run is measured between two loops of each kind, on the
same core, and only figures of one round are compared. The whole path is: plan, pace, reserve, journal with fsync, send,
settle, metrics. A run of one row in the same round shows what starting and ending cost, which is left out of the rates.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

BENCH = Path(__file__).parent
sys.path.insert(0, str(BENCH.parent))

from bench.at_once import answering_at_once, on_core  # noqa: E402 - beside this file, whoever imports it
from bench.sampled import EDGES, parts_of  # noqa: E402

CLIENT_CORE = 0
SERVER_CORE = 1
PEERS = {
    "post": "bare loop of `client.post(..., cast_to=httpx2.Response)`",
    "plain": "bare loop of aiohttp",
    "aiohttp": "bare loop of typed SDK calls",
}
PACKAGES = ("tunemill", "openai", "aiohttp", "httpx2", "orjson")
RATE_MIN = 2_000
RATE_WANTED = 4_000
RATIO_MIN = 0.8

RECIPE = """\
name = "throughput"
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
requests_per_minute = 60_000_000
tokens_per_minute = 60_000_000_000
concurrency = {at_once}
[budget]
usd = 10_000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """So many requests of one process took so long; `max_rss_mib` is the process's."""

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
        """Processor time of a request, in milliseconds."""
        return 1000 * self.cpu_s / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Measured within about a minute. `whole` is the run without starting and ending, which `edges` is."""

    whole: Figures
    edges: Figures
    peers: Mapping[str, Figures]

    def ratio(self, peer: str) -> float:
        """The run's rate, compared with the peer's."""
        return self.whole.rate / self.peers[peer].rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """All rounds, and the server that answered."""

    server: str
    at_once: int
    rounds: Sequence[Round]

    @property
    def rate(self) -> float:
        """Requests per second of the whole path, median of the rounds."""
        return statistics.median(each.whole.rate for each in self.rounds)

    @property
    def cpu_ms(self) -> float:
        """Processor time of a request on the whole path, median of the rounds."""
        return statistics.median(each.whole.cpu_ms for each in self.rounds)

    def ratio(self, peer: str) -> float:
        """The whole path beside a peer, median of the rounds."""
        return statistics.median(each.ratio(peer) for each in self.rounds)

    def to_json(self) -> dict[str, object]:
        """Every figure."""
        return {**asdict(self), "rate": self.rate, "cpu_ms": self.cpu_ms, "ratio": self.ratio("post")}


def measure(*, rows: int = 20_000, calls: int = 6_000, at_once: int = 64, rounds: int = 3) -> Throughput:
    """Measure. Takes about 40 seconds a round."""
    with answering_at_once(core=SERVER_CORE) as server, tempfile.TemporaryDirectory(prefix="tunemill-rate-") as folder:
        measured = []
        for number in range(rounds):
            here = Path(folder) / str(number)
            here.mkdir()
            measured.append(_round(here, server.base_url, rows=rows, calls=calls, at_once=at_once))
        return Throughput(server=server.name, at_once=at_once, rounds=measured)


def _round(folder: Path, base_url: str, *, rows: int, calls: int, at_once: int) -> Round:
    before = {peer: _bare(peer, base_url, calls // 2, at_once) for peer in PEERS}
    edges = _run(folder / "one", base_url, rows=1, at_once=at_once)
    run = _run(folder / "many", base_url, rows=rows, at_once=at_once)
    after = {peer: _bare(peer, base_url, calls // 2, at_once) for peer in PEERS}
    whole = Figures(
        requests=rows - 1,
        seconds=run.seconds - edges.seconds,
        cpu_s=run.cpu_s - edges.cpu_s,
        max_rss_mib=run.max_rss_mib,
    )
    return Round(whole=whole, edges=edges, peers={peer: _both(before[peer], after[peer]) for peer in PEERS})


def _both(one: Figures, other: Figures) -> Figures:
    return Figures(
        requests=one.requests + other.requests,
        seconds=one.seconds + other.seconds,
        cpu_s=one.cpu_s + other.cpu_s,
        max_rss_mib=max(one.max_rss_mib, other.max_rss_mib),
    )


def _bare(peer: str, base_url: str, calls: int, at_once: int) -> Figures:
    loop = [sys.executable, str(BENCH / "bare_loop.py"), base_url, str(calls), str(at_once), peer]
    return Figures(requests=calls, **json.loads(subprocess.check_output([*on_core(CLIENT_CORE), *loop])))


def command_of(folder: Path, *, rows: int, at_once: int) -> Sequence[str]:
    """`run` of so many rows, in a new folder, after `tunemill`."""
    folder.mkdir()
    axes = "\n".join(f"{name} = {[name + str(number) for number in range(10)]}" for name in "abcdef")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(rows=rows, axes=axes, at_once=at_once), encoding="utf-8")
    options = ["--until", "generate", "--log-level", "warning", "--run-dir", str(folder / "run")]
    return ("run", str(recipe), *options)


def _run(folder: Path, base_url: str, *, rows: int, at_once: int) -> Figures:
    command = [*on_core(CLIENT_CORE), sys.executable, "-m", "tunemill", *command_of(folder, rows=rows, at_once=at_once)]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=_environment(base_url))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return Figures(
        requests=rows, seconds=seconds, cpu_s=usage.ru_utime + usage.ru_stime, max_rss_mib=usage.ru_maxrss / 1024
    )


def _environment(base_url: str) -> dict[str, str]:
    return {**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "bench"}


def profile(folder: Path, *, rows: int, at_once: int, cpu_ms: float) -> Mapping[str, float]:
    """Milliseconds of a request by part, where `cpu_ms` is what one takes in all; the stacks stay in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stacks = folder / "stacks.txt"
    with answering_at_once(core=SERVER_CORE) as server, tempfile.TemporaryDirectory(prefix="tunemill-rate-") as runs:
        command = command_of(Path(runs) / "sampled", rows=rows, at_once=at_once)
        sampled = [*on_core(CLIENT_CORE), sys.executable, str(BENCH / "sampled.py"), str(stacks), *command]
        subprocess.run(sampled, env=_environment(server.base_url), check=True)
    parts = parts_of(stacks)
    del parts[EDGES]
    return {part: cpu_ms * count / parts.total() for part, count in parts.most_common()}


# -- telling ---------------------------------------------------------------------------------------------------------


def report(measured: Throughput) -> Iterator[str]:
    """As Markdown."""
    yield (
        f"Median of {len(measured.rounds)} rounds; {measured.server} on one core answers at once, the client "
        f"has another; {measured.at_once} requests at once; Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + "."
    )
    yield ""
    yield "| on one core | requests/s | CPU ms a request | largest resident MiB |"
    yield "|---|---|---|---|"
    yield _line("`tunemill run`, the whole path", [each.whole for each in measured.rounds])
    for peer, name in PEERS.items():
        yield _line(name, [each.peers[peer] for each in measured.rounds])
    yield ""
    edges = [each.edges for each in measured.rounds]
    yield (
        f"Left out: starting and ending, {_median([each.seconds for each in edges]):.2f} s "
        f"({_median([each.cpu_s for each in edges]):.2f} s of CPU)."
    )
    yield ""
    yield "| | measured | limit |"
    yield "|---|---|---|"
    yield f"| requests/s, whole path, one core | {measured.rate:,.0f} | {RATE_MIN:,} (wanted: {RATE_WANTED:,}) |"
    yield f"| compared with the bare loop of `client.post` | {measured.ratio('post'):.2f} | {RATIO_MIN} |"
    yield f"| compared with the bare loop of aiohttp | {measured.ratio('plain'):.2f} | |"


def _line(name: str, figures: Sequence[Figures]) -> str:
    rate, cpu_ms, memory = (
        _median([getattr(each, of) for each in figures]) for of in ("rate", "cpu_ms", "max_rss_mib")
    )
    return f"| {name} | {rate:,.0f} | {cpu_ms:.3f} | {memory:.0f} |"


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What one core can do against a server that answers at once.")
    parser.add_argument("--quick", action="store_true", help="one short round: an impression, no measurement")
    parser.add_argument("--rows", type=int, default=20_000, help="of the run (at most 1,000,000)")
    parser.add_argument("--at-once", type=int, default=64, help="requests under way, in runs and loops")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--json", action="store_true", help="every figure as JSON")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="also where the time goes; stacks into FOLDER")
    arguments = parser.parse_args()
    if arguments.quick:
        measured = measure(rows=5_000, calls=2_000, at_once=arguments.at_once, rounds=1)
    else:
        measured = measure(rows=arguments.rows, at_once=arguments.at_once, rounds=arguments.rounds)
    text = json.dumps(measured.to_json(), indent=2) if arguments.json else "\n".join(report(measured))
    sys.stdout.write(text + "\n")
    if arguments.profile is not None:
        parts = profile(arguments.profile, rows=arguments.rows, at_once=arguments.at_once, cpu_ms=measured.cpu_ms)
        lines = [f"| {part} | {milliseconds:.3f} |" for part, milliseconds in parts.items()]
        sys.stdout.write("\n".join(["", "| where the time goes | ms a request |", "|---|---|", *lines, ""]))


if __name__ == "__main__":
    main()
