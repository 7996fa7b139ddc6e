"""Others on the same work: bare loops of calls, and curator; each a process of its own on the client's core.

Their scripts are in `bench/clients`. What is not in the project's own environment has one under `bench/.peers`, which
`make bench-peers` installs from pinned versions.
"""

import json
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from bench.frame import NotInstalled
from bench.running import BENCH, CLIENT_CORES, Usage, measured
from bench.servers import Server

CLIENTS = BENCH / "clients"
Loop: TypeAlias = Literal["default", "aiohttp", "post", "plain"]
LOOPS: dict[Loop, str] = {
    "default": "bare loop of typed SDK calls",
    "aiohttp": "bare loop of typed SDK calls over aiohttp",
    "post": "bare loop of `client.post(..., cast_to=httpx2.Response)`",
    "plain": "bare loop of aiohttp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """So many requests, answered; `cpu_s` and `seconds` are those of the requests alone, memory is the process's."""

    requests: int
    seconds: float
    cpu_s: float
    max_rss_mib: float
    began_at: float = 0.0  # seconds since 1970, where what came before is not to count

    def seen_by(self, server: Server) -> "Done":
        """With the seconds as the server saw them, from the first request to the last."""
        return replace(self, seconds=server.window_s(self.began_at))

    def less(self, edges: Usage) -> "Done":
        """Without the processor time of a run of one row, which is starting and ending."""
        return replace(self, cpu_s=self.cpu_s - edges.cpu_s)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of a request."""
        return 1000 * self.cpu_s / self.requests


def python_of(peer: str) -> Path:
    """The interpreter of a peer's own environment. Raises NotInstalled where it has not been made."""
    found = BENCH / ".peers" / peer / "bin" / "python"
    if not found.exists():
        raise NotInstalled(f"{peer} is not installed; make bench-peers does it")
    return found


def bare_loop(
    kind: Loop,
    base_url: str,
    *,
    calls: int,
    at_once: int,
    folder: Path,
    python: Path | None = None,
    cores: Collection[int] = CLIENT_CORES,
) -> Done:
    """Calls in a loop, of which nothing is kept; in the environment of the interpreter `python`, or in ours."""
    command: list[str | Path] = [
        python or sys.executable,
        CLIENTS / "sdk_client.py",
        base_url,
        str(calls),
        str(at_once),
        kind,
    ]
    said = measured(command, said=folder / f"{kind}-loop", environment=_environment(), cores=cores)
    return Done(requests=calls, **json.loads(said.stdout))


def curator(
    base_url: str,
    prompts: Path,
    *,
    at_once: int,
    max_tokens: int,
    folder: Path,
    requests_per_minute: int = 0,
    tokens_per_minute: int = 0,
) -> Done:
    """curator, with a request for each line of `prompts` (JSON with `text`); 0 is no limit. Raises NotInstalled."""
    numbers = [str(number) for number in (at_once, max_tokens, requests_per_minute, tokens_per_minute)]
    command: list[str | Path] = [
        python_of("curator"),
        CLIENTS / "curator_client.py",
        base_url,
        prompts,
        *numbers,
        folder,
    ]
    said = measured(command, said=folder / "curator", environment=_environment())
    figures = json.loads(said.stdout)
    return Done(requests=figures.pop("answers"), **figures)


def whole_path(run: Usage, requests: int) -> Done:
    """A whole run of tunemill as one of them."""
    return Done(requests=requests, seconds=run.seconds, cpu_s=run.cpu_s, max_rss_mib=run.max_rss_mib)


def _environment() -> dict[str, str]:
    """Ours, but for what would lend them our packages."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "OPENAI_API_KEY": "bench"}
