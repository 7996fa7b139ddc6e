"""How the process ends: from whatever a command raises to one message and one exit code.

A traceback is for what nobody foresaw. What a person can mend, or did on purpose, is one line on stderr.
"""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

import typer

from tunemill.errors import ArgumentError, TunemillError

DONE = 0
MISTAKE = 2
UNWRITABLE = 74
INTERRUPTED = 130
TERMINATED = 143
_STDERR = 2
_MESSAGE_CHARS_MAX = 20_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command; say what went wrong, if anything did; the exit code."""
    signal.signal(signal.SIGTERM, _terminated)  # without a handler, the first process of a container ignores it
    # The image starts us with it blocked, so that one that comes before now is not ignored, but waits for this moment.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _open_what_is_closed()
    _speak_any_locale()
    result = DONE
    try:
        result = _told_what_went_wrong(command)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output(sys.stdout)  # whoever read it has seen enough
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        _forget_output(sys.stdout)
        return _say(f"the output cannot be written ({error.strerror}); make room, or send it elsewhere", UNWRITABLE)
    _finish_talking()
    return result


def _told_what_went_wrong(command: Callable[[], object]) -> int:
    try:
        result = command()
    except typer.Exit as ending:
        return ending.exit_code
    except typer.TyperException as error:
        return _say(_usage(error), MISTAKE)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BaseExceptionGroup as group:
        return _foreseen(_single(group))
    except Exception as error:
        return _foreseen(error)
    return result if isinstance(result, int) else DONE


def _foreseen(error: BaseException) -> int:
    """One message for an error that was foreseen. Raises any other again."""
    from tunemill.local.child import LocalServerFailed

    match error:
        case TunemillError():
            return _say(str(error), error.exit_code)
        case LocalServerFailed():
            return _say(f"the embedded server cannot start: {error}", MISTAKE)
        case OSError(filename=str(name)):
            return _say(f"{name}: {error.strerror}; see to it that it can be read and written", MISTAKE)
        case _:
            raise error


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that a task group's many stand for: ours, where there is one."""
    known = group.subgroup(TunemillError)
    first: BaseException = known if known is not None else group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _usage(error: typer.TyperException) -> str:
    """What the parser of the command line refused. The values of flags are not its business but those of yes and no."""
    parameter = getattr(error, "param", None)
    variable = getattr(parameter, "envvar", None)
    if error.message and isinstance(variable, str) and variable in os.environ:
        value = os.environ[variable]
        return str(ArgumentError("is neither yes nor no", mend="set it to 1 or 0", key=variable, value=value))
    context = getattr(error, "ctx", None)
    command = "tunemill" if context is None else context.command_path
    text = error.format_message().rstrip(".")
    return f"{text[:1].lower()}{text[1:]}; see `{command} --help`"


def _say(message: str, exit_code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # stderr may be gone as well
        sys.stderr.write(f"tunemill: {_harmless(message)}\n")
    return exit_code


def _harmless(message: str) -> str:
    """It may quote a provider, a recipe, or a file: nothing of that is obeyed by a terminal."""
    if message.replace("\n", "").isprintable():
        return message
    from tunemill.telemetry import harmless

    return harmless(message, chars_max=_MESSAGE_CHARS_MAX)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def _open_what_is_closed() -> None:
    """Whoever starts us with a standard stream closed means silence, and not that a file of ours takes its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open as long as we are


def _speak_any_locale() -> None:
    """What a terminal's or a file's encoding does not have is written as an escape: better than no output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finish_talking() -> None:
    """What stderr still holds, if anybody is there; the exit code says how the command ended, and not who listened."""
    try:
        sys.stderr.flush()
    except OSError:
        _forget_output(sys.stderr)
    except ValueError:  # closed
        pass


def _forget_output(stream: TextIO) -> None:
    """Nothing that is still buffered can be written, and the interpreter is not to try at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
