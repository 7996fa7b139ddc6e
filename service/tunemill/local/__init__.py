"""The embedded OpenAI-compatible server: a simulator to rehearse with, or a small model on this machine.

It shares the wire format with the rest of tunemill and nothing else, so that what it says about a run (its books) is
an independent witness. Nothing heavy is imported before `serve` is called.
"""

import sys
from collections.abc import Sequence

from tunemill.local.arguments import PROGRAM, parse_arguments
from tunemill.local.missing import BackendMissing
from tunemill.local.options import JobPace, LlamaOptions, ServerOptions

__all__ = ["BackendMissing", "JobPace", "LlamaOptions", "ServerOptions", "main", "parse_arguments", "serve"]


def serve(options: ServerOptions) -> None:
    """Serve until a signal ends it; see `tunemill.local.serving.serve`."""
    from tunemill.local.serving import serve as run

    run(options)


def main(argv: Sequence[str], *, program: str = PROGRAM) -> int:
    """The command line. Returns the exit status: 0 after a signal, 2 where something is missing, or the port taken."""
    options = parse_arguments(argv, program=program)
    try:
        serve(options)
    except BackendMissing as problem:
        print(f"{program}: {problem}", file=sys.stderr)  # noqa: T201  # the one message that a person must see
        return 2
    except OSError as problem:
        where = f"{options.host} port {options.port}"
        print(f"{program}: cannot serve on {where}: {problem}; choose another --host or --port", file=sys.stderr)  # noqa: T201
        return 2
    return 0
