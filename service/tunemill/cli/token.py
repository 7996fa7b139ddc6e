"""The token that opens the run's page beyond this machine: from a file or from the environment.

Never a flag's value, which everybody on the machine can read in the list of processes.
"""

from collections.abc import Mapping
from pathlib import Path

from tunemill.cli.options import named
from tunemill.errors import ArgumentError
from tunemill.telemetry import TOKEN_VARIABLE, PageToken, parse_token

_FLAG = "--token-file"


def page_token(environment: Mapping[str, str], file: Path | None) -> PageToken | None:
    """What the file holds, or TUNEMILL_TOKEN; None where there is neither. Raises ArgumentError."""
    text = environment.get(TOKEN_VARIABLE, "").strip()
    if file is None:
        return parse_token(text, origin=TOKEN_VARIABLE) if text else None
    if text:
        raise ArgumentError(
            f"{TOKEN_VARIABLE} is set, too", mend="give one of the two", key=named(_FLAG), value=str(file)
        )
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        mend = "give a file that holds the token and nothing else"
        raise ArgumentError(f"cannot be read ({reason})", mend=mend, key=named(_FLAG), value=str(file)) from error
    return parse_token(text, origin=named(_FLAG))
