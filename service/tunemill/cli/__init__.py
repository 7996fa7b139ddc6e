"""The command line: flags in, exit codes out. Data goes to stdout, talk to stderr, and a mistake gets one message."""

import sys


def main() -> None:
    """The `tunemill` command."""
    from tunemill.cli.ending import exit_code_of

    sys.exit(exit_code_of(_command))


def _command() -> object:
    from typer.main import get_command

    from tunemill.cli.commands import app

    # Not `app()`: typer would answer mistakes and broken pipes in its own way before we see them.
    command = get_command(app)
    with command.make_context("tunemill", sys.argv[1:] or ["--help"]) as context:
        return command.invoke(context)


__all__ = ["main"]
