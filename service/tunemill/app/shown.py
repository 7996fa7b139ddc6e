"""What a run shows while it runs: logs, metrics, display and HTTP, subscribed to one stream of events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from rich.console import Console

from tunemill.clock import Clock
from tunemill.errors import TunemillError
from tunemill.events import Event, Subscriber
from tunemill.model import RunState
from tunemill.statistics import RunStatistics
from tunemill.telemetry import (
    Address,
    Display,
    LogFormat,
    LogLevel,
    PageToken,
    RunEnd,
    RunMetrics,
    RunPage,
    configure_logs,
    format_for,
    keep_fresh,
    log_events,
    log_progress,
    log_run_ended,
    make_display,
    print_progress,
    run_logger,
    status_server,
)
from tunemill.telemetry.control_socket import Handler, control_socket
from tunemill.telemetry.metrics.otlp import otlp_export
from tunemill.telemetry.metrics.push import Push, push_gateway, pushing


class Events:
    """One stream, many subscribers. What is emitted before anybody subscribes is lost, which is meant."""

    __slots__ = ("_subscribers",)

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """From now on."""
        self._subscribers.append(subscriber)

    def emit(self, event: Event) -> None:
        """Hand the event to everybody, in the order in which they subscribed."""
        for subscriber in self._subscribers:
            subscriber(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """How a run is to show itself: `console` writes to `stream`. `secrets` are masked in every log line. It goes on
    listening for `linger_s` seconds after its end. `push_gateway` is the URL of a Prometheus Pushgateway; with `otlp`
    it also exports its metrics, to where the variables of OpenTelemetry say."""

    console: Console
    stream: TextIO
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    listen: Address | None = None
    token: PageToken | None = None
    linger_s: float = 0.0
    push_gateway: str | None = None
    otlp: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


@contextlib.asynccontextmanager
async def answering(run: str, path: Path, answer: Handler) -> AsyncIterator[None]:
    """Answer on the socket at `path` while the context is open. A run that cannot goes on without, and says so."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(control_socket(path, answer))
        except OSError as error:
            run_logger(run).warning("control_socket_missing", path=str(path), message=str(error))
        yield


@contextlib.asynccontextmanager
async def showing(
    run: str,
    statistics: Callable[[], RunStatistics],
    *,
    options: ShowOptions,
    events: Events,
    clock: Clock,
    prompt_of: Callable[[str], str],
    last: contextlib.AsyncExitStack,
    folder: Path,
    rows: int,
) -> AsyncIterator[Display]:
    """Show the run while the context is open; its last log line is written at the end.

    `prompt_of` gives the prompt of a request id, "" where there is none. What is served stays until the caller closes
    `last`.
    """
    began_at = clock.monotonic()
    secrets = options.secrets if options.token is None else (*options.secrets, options.token.text)
    log_format = format_for(options.log_format, options.stream)
    sink = configure_logs(log_format, options.log_level, stream=options.stream, secrets=secrets, run=run)
    logger = run_logger(run)
    is_pretty = log_format == "pretty"
    write_line = print_progress(sink) if is_pretty else log_progress(logger)
    display = make_display(options.console, statistics, clock.monotonic, sink=sink, write_line=write_line)
    metrics = RunMetrics(statistics)
    logging_events = log_events(logger, calm=display.is_live, brief=is_pretty)
    for subscriber in (metrics.on_event, display.on_event, logging_events):
        events.subscribe(subscriber)

    def log_end(figures: RunStatistics) -> None:
        duration_s = clock.monotonic() - began_at
        end = RunEnd(folder=str(folder), rows=rows, duration_s=duration_s, lines_lost=sink.lines_lost)
        sink.write_last_line_next()
        log_run_ended(logger, figures, end, calm=display.is_live)

    page: RunPage | None = None
    if options.listen is not None:
        page = RunPage(statistics, prompt_of=prompt_of, clock=clock)
        events.subscribe(page.on_event)
        access = await last.enter_async_context(
            status_server(
                options.listen,
                statistics=statistics,
                registry=metrics.registry,
                page=page,
                token=options.token,
            )
        )
        logger.info("listening", address=str(access.address), page=access.page_words)
    async with contextlib.AsyncExitStack() as stack:
        if page is not None:
            stack.callback(page.look)  # the last prompts, while the journal is open
        pushed = pushing(metrics.registry, dict(_pushes(options, run, clock)), clock=clock, logger=logger)
        await stack.enter_async_context(pushed)
        with _last_line(log_end, statistics), display:
            fresh = asyncio.create_task(keep_fresh(display, clock.sleep))
            try:
                yield display
            finally:
                fresh.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await fresh


@contextlib.contextmanager
def _last_line(log_end: Callable[[RunStatistics], None], statistics: Callable[[], RunStatistics]) -> Iterator[None]:
    """Log how the run ended, also where an error ends it, of which the figures need not know."""
    try:
        yield
    except Exception as error:
        log_end(_failed(statistics(), error))
        raise
    except BaseException:
        log_end(statistics())
        raise
    log_end(statistics())


def _failed(statistics: RunStatistics, error: Exception) -> RunStatistics:
    if statistics.state in {RunState.FAILED, RunState.REFUSED} and statistics.reason:
        return statistics
    said = str(error) if isinstance(error, TunemillError) else f"an error in tunemill: {type(error).__name__}"
    return replace(statistics, state=RunState.FAILED, reason=said)


def _pushes(options: ShowOptions, run: str, clock: Clock) -> Iterator[tuple[str, Push]]:
    """Where metrics are pushed to, in words, and how."""
    if options.push_gateway is not None:
        yield "push gateway", push_gateway(options.push_gateway, run)
    if options.otlp:
        yield "OpenTelemetry collector", otlp_export(clock.wall)
