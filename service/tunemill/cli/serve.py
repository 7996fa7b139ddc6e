"""`serve`: the embedded server, which has a command line of its own; here its flags get their environment variables."""

import os
from collections.abc import Iterator, Mapping, Sequence

_PREFIX = "TUNEMILL_SERVE_"
_ALONE = {"--random", "--exit-with-parent", "--job-per-retrieve", "--results-base64", "--no-limit-headers"}
_NO = {"", "0", "false", "no", "off"}


def serve_command(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it; the exit code."""
    from tunemill.local import main

    return main([*_from_environment(os.environ), *arguments], program="tunemill serve")


def _from_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """TUNEMILL_SERVE_LATENCY_S=2 is `--latency-s=2`; what the command line says comes later and wins."""
    for name, value in sorted(environment.items()):
        if name.startswith(_PREFIX):
            flag = "--" + name.removeprefix(_PREFIX).lower().replace("_", "-")
            if flag not in _ALONE and value:
                yield f"{flag}={value}"
            elif value.lower() not in _NO:
                yield flag
