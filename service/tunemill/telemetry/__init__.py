"""What a run shows of itself: logs, metrics, a progress display and an HTTP address.

Everything in here subscribes to `tunemill.events` or reads `tunemill.statistics`, and nothing in the engine or the
stages knows that it exists.
"""

from tunemill.telemetry.access import TOKEN_VARIABLE, Access, PageToken, parse_token
from tunemill.telemetry.http import status_server
from tunemill.telemetry.listen import Address, check_listen, parse_listen
from tunemill.telemetry.log_formats import LogFormat, format_for
from tunemill.telemetry.log_lines import RunEnd, log_events, log_run_ended
from tunemill.telemetry.logs import LogLevel, configure_logs, run_logger
from tunemill.telemetry.metrics import RunMetrics
from tunemill.telemetry.page import RunPage
from tunemill.telemetry.panels import answer_panel, completion_panel
from tunemill.telemetry.progress import (
    Display,
    LineDisplay,
    LiveDisplay,
    keep_fresh,
    log_progress,
    make_console,
    make_display,
    print_progress,
)
from tunemill.telemetry.safe_text import harmless, mask_secrets, one_line
from tunemill.telemetry.sink import LineSink
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
