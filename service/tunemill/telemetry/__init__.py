"""What a run shows of itself: logs, metrics, a progress display and an HTTP address.

Everything in here subscribes to `tunemill.events` or reads `tunemill.statistics`, and nothing in the engine or the
stages knows that it exists.
"""

from tunemill.telemetry.display.panels import answer_panel, completion_panel
from tunemill.telemetry.display.progress import (
    Display,
    LineDisplay,
    LiveDisplay,
    keep_fresh,
    log_progress,
    make_console,
    make_display,
    print_progress,
)
from tunemill.telemetry.http.access import TOKEN_VARIABLE, Access, PageToken, parse_token
from tunemill.telemetry.http.listen import Address, check_listen, parse_listen
from tunemill.telemetry.http.page import RunPage
from tunemill.telemetry.http.server import status_server
from tunemill.telemetry.logs.formats import LogFormat, format_for
from tunemill.telemetry.logs.lines import RunEnd, log_events, log_run_ended
from tunemill.telemetry.logs.setup import LogLevel, configure_logs, run_logger
from tunemill.telemetry.logs.sink import LineSink
from tunemill.telemetry.metrics.registry import RunMetrics
from tunemill.telemetry.safe_text import harmless, mask_secrets, one_line
from tunemill.telemetry.words import dollars, duration, progress_line, waiting_words

__all__ = [
    "TOKEN_VARIABLE",
    "Access",
    "Address",
    "Display",
    "LineDisplay",
    "LineSink",
    "LiveDisplay",
    "LogFormat",
    "LogLevel",
    "PageToken",
    "RunEnd",
    "RunMetrics",
    "RunPage",
    "answer_panel",
    "check_listen",
    "completion_panel",
    "configure_logs",
    "dollars",
    "duration",
    "format_for",
    "harmless",
    "keep_fresh",
    "log_events",
    "log_progress",
    "log_run_ended",
    "make_console",
    "make_display",
    "mask_secrets",
    "one_line",
    "parse_listen",
    "parse_token",
    "print_progress",
    "progress_line",
    "run_logger",
    "status_server",
    "waiting_words",
]
