"""The command line: flags in, exit codes out. Data goes to stdout, talk to stderr, and a mistake gets one message."""

import gc
import sys

# Thousands of small objects live for the seconds that a request takes. Python looks through them after every 700 more,
# and through all modules now and then: an eighth of a run's work, for hardly any garbage. Here it looks through what is
# new, in pieces of some hundredths of a second, and hardly ever through everything: with ten thousand requests in
# flight that takes a third of a second, in which nothing leaves.
GARBAGE_THRESHOLDS = (10_000, 3, 300)


def main() -> None:
    """The `tunemill` command."""
    from tunemill.cli.ending import exit_code_of

    gc.set_threshold(*GARBAGE_THRESHOLDS)
    sys.exit(exit_code_of(_command))


def _command() -> object:
    from typer.main import get_command

    from tunemill.cli.commands import app

    # Not `app()`: typer would answer mistakes and broken pipes in its own way before we see them.
    command = get_command(app)
    with command.make_context("tunemill", sys.argv[1:] or ["--help"]) as context:
        return command.invoke(context)


__all__ = ["main"]
