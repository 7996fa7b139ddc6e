"""`run`: from flags to the main job, and from its result to an exit code and a last word."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tunemill.app.generate import GenerateOptions
from tunemill.app.main_job import RunOptions, RunResult, Until, run_recipe
from tunemill.app.shown import ShowOptions
from tunemill.cli.output import one_of, positive, talk
from tunemill.model import RunState
from tunemill.telemetry import LogFormat, LogLevel, make_console, parse_listen

BACKENDS = ("llama", "simulator")
LOG_FORMATS = ("auto", "pretty", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags:
    """The flags of `run`, as given."""

    recipe: Path
    limit: int | None
    budget: float | None
    until: str | None
    run_dir: Path | None
    listen: str | None
    local: str | None
    grace: float
    keep_existing: bool
    retry_failed: bool
    log_format: str
    log_level: str


def run_command(flags: RunFlags) -> None:
    """Run, say how it ended, and leave with its exit code."""
    result = asyncio.run(run_recipe(_options(flags), os.environ))
    for line in _last_words(result):
        talk(line)
    sys.exit(result.exit_code)


def _options(flags: RunFlags) -> RunOptions:
    positive("--budget", flags.budget)
    if flags.local is not None:
        one_of("--backend", flags.local, BACKENDS)
    until = None
    if flags.until is not None:
        until = Until[one_of("--until", flags.until, tuple(stage.name.lower() for stage in Until)).upper()]
    return RunOptions(
        recipe=flags.recipe,
        until=until,
        run_dir=flags.run_dir,
        budget_usd=flags.budget,
        local=flags.local,
        generate=GenerateOptions(
            limit=flags.limit,
            grace_s=flags.grace,
            keep_existing=flags.keep_existing,
            retry_failed=flags.retry_failed,
        ),
        show=ShowOptions(
            console=make_console(),
            stream=sys.stderr,
            log_format=cast("LogFormat", one_of("--log-format", flags.log_format, LOG_FORMATS)),
            log_level=cast("LogLevel", one_of("--log-level", flags.log_level, LOG_LEVELS)),
            listen=None if flags.listen is None else parse_listen(flags.listen),
        ),
    )


def _last_words(result: RunResult) -> list[str]:
    """Where everything is, and what to do next."""
    folder = result.folder
    lines = [f"note: {note}" for note in result.notes]
    if result.statistics.requests.failed:
        lines.append(f"failed requests: {folder.failed}")
    if result.statistics.dataset is not None and folder.report.exists():
        lines.append(f"dataset: {folder.train}, report: {folder.report}")
    match result.statistics.state:
        case RunState.BUDGET_REACHED:
            lines.append(f"{result.reason}; raise the budget (--budget or [budget] usd) and run again to go on")
        case RunState.INTERRUPTED:
            lines.append(f"{result.reason}; run again to go on")
        case RunState.REFUSED:
            lines.append(f"tunemill: {result.reason}; mend it and run again to go on: what was answered is kept")
        case _:
            pass
    return lines
