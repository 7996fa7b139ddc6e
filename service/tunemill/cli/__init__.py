"""The command line: flags in, exit codes out. Data goes to stdout, talk to stderr, and a mistake gets one message."""

import sys

from tunemill.errors import TunemillError

INTERRUPTED = 130


def main() -> None:
    """The `tunemill` command."""
    from tunemill.cli.commands import app

    try:
        app()
    except TunemillError as error:
        sys.stderr.write(f"tunemill: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("tunemill: interrupted\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be said to them.
        sys.stderr.close()
        sys.exit(0)


__all__ = ["main"]
