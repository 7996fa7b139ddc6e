"""`run`: from flags to the main job, and from its result to an exit code and a last word."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import cast

from tunemill import loop
from tunemill.app.generate import GenerateOptions
from tunemill.app.main_job import RunOptions, RunResult, run_recipe
from tunemill.app.run_stages import Until
from tunemill.app.shown import ShowOptions
from tunemill.cli.options import named
from tunemill.cli.output import talk
from tunemill.cli.token import page_token
from tunemill.errors import ArgumentError
from tunemill.model import RunState
from tunemill.telemetry import Address, LogFormat, LogLevel, check_listen, make_console, parse_listen
from tunemill.telemetry.metrics.otlp import check_otlp
from tunemill.telemetry.metrics.push import check_push_gateway
from tunemill.telemetry.words import go_on_words


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags:
    """The flags of `run`, as given."""

    recipe: Path
    limit: int | None
    budget: float | None
    until: str | None
    run_dir: Path | None
    listen: str | None
    token_file: Path | None
    linger: float
    push_gateway: str | None
    otlp: bool
    local: str | None
    grace: float
    keep_existing: bool
    retry_failed: bool
    processes: int
    log_format: str
    log_level: str


def run_command(flags: RunFlags) -> int:
    """Run and say how it ended; the exit code."""
    result = loop.run(_run(_options(flags)))
    for line in _last_words(result, is_pilot=flags.limit is not None):
        talk(line)
    return result.exit_code


async def _run(options: RunOptions) -> RunResult:
    if options.show.listen is not None:
        await check_listen(options.show.listen)  # before a run folder is made
    return await run_recipe(options, os.environ)


def _options(flags: RunFlags) -> RunOptions:
    return RunOptions(
        recipe=flags.recipe,
        until=None if flags.until is None else Until[flags.until.upper()],
        run_dir=flags.run_dir,
        budget_usd=flags.budget,
        local=flags.local,
        generate=GenerateOptions(
            limit=flags.limit,
            grace_s=flags.grace,
            keep_existing=flags.keep_existing,
            retry_failed=flags.retry_failed,
            processes=flags.processes,
        ),
        show=ShowOptions(
            console=make_console(),
            stream=sys.stderr,
            log_format=cast("LogFormat", flags.log_format),
            log_level=cast("LogLevel", flags.log_level),
            listen=None if flags.listen is None else _address(flags.listen),
            token=None if flags.listen is None else page_token(os.environ, flags.token_file),
            linger_s=_linger(flags),
            push_gateway=_gateway(flags.push_gateway),
            otlp=_with_packages(flags.otlp),
        ),
    )


def _address(text: str) -> Address:
    try:
        return parse_listen(text)
    except ArgumentError as error:
        raise ArgumentError(error.problem, mend=error.mend, key=named("--listen"), value=text) from error


def _linger(flags: RunFlags) -> float:
    if flags.linger and flags.listen is None:
        raise ArgumentError(
            "there is nothing to go on serving",
            mend="give --listen as well, such as --listen 127.0.0.1:9400",
            key=named("--linger"),
            value=f"{flags.linger:g}",
        )
    return flags.linger


def _gateway(url: str | None) -> str | None:
    return None if url is None else check_push_gateway(url, named("--push-gateway"))


def _with_packages(otlp: bool) -> bool:
    if otlp:
        check_otlp(named("--otlp"))
    return otlp


def _last_words(result: RunResult, *, is_pilot: bool) -> Iterator[str]:
    """Where everything is, and what to do next."""
    folder, statistics = result.folder, result.statistics
    yield from (f"note: {note.replace('submit RUN', 'submit ' + quote(folder.name))}" for note in result.notes)
    if statistics.requests.failed:
        yield f"failed requests: {folder.failed}; --retry-failed sends them again"
    if statistics.dataset is not None and folder.report.exists():
        yield f"dataset: {folder.train}, report: {folder.report}"
    if statistics.fine_tune is not None and statistics.fine_tune.get("model"):
        yield f"tuned model: {statistics.fine_tune['model']}; talk to it with: tunemill chat {quote(folder.name)}"
    match statistics.state:
        case RunState.BUDGET_REACHED:
            yield f"{result.reason}; {go_on_words(statistics.state)}"
        case RunState.INTERRUPTED:
            yield f"{result.reason}; {go_on_words(statistics.state)}"
        case RunState.REFUSED:
            yield f"tunemill: {result.reason.rstrip('.')}; {go_on_words(statistics.state)}"
        case RunState.FINISHED if is_pilot:
            shown = f"tunemill show {quote(folder.name)}"
            yield f"that was the pilot: {shown} shows it again; without --limit all rows are run"
        case _:
            pass
