"""A process that has everything loaded and forks one child for each order: `python -m tests.torture.nursery`.

Starting the command anew for each of hundreds of kills would be mostly the loading of modules. Orders come on stdin and
endings go to stdout, a line of JSON each. A child is the `tunemill` command with a clock that runs fast, and with the
wrapped calls where the order has a plan.
"""

import builtins
import importlib
import io
import json
import os
import signal
import ssl
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _open(*args: Any, **more: Any) -> Any:
    return io.open(*args, **more)  # noqa: UP020 - looked up anew each time, which is the point


# Before anybody keeps the real one, and so before the imports below: children are to find what they put in the place of
# `io.open`.
builtins.open = _open

from tests.torture.power import Disk  # noqa: E402
from tests.torture.strikes import Plan, Striking  # noqa: E402
from tests.torture.wrapped import Wrapped  # noqa: E402

import tunemill.app.main_job  # noqa: E402
import tunemill.app.tuning  # noqa: E402
import tunemill.cli.commands  # noqa: E402
from tunemill.clock import SystemClock, Timer  # noqa: E402
from tunemill.pricing import price_of  # noqa: E402

# What a run loads when it comes to need it.
LATER = (
    "genai_prices.data_snapshot",
    "httpcore2",
    "openai.resources.files",
    "openai.resources.fine_tuning",
    "openai.resources.models",
    "truststore",
    "tunemill.cli.ending",
    "tunemill.cli.run",
    "tunemill.client.completions",
    "tunemill.client.fine_tuning",
)
for name in LATER:
    importlib.import_module(name)
price_of("gpt-4o-mini", "http://127.0.0.1", {})  # reads the table of prices, which a child would do each time

HURRY = 20.0
POLL_S = 0.003
OVERDUE = "overdue"


class HurriedClock(SystemClock):
    """The machine's clock, `HURRY` times as fast: what would wait for a second waits for a twentieth."""

    def monotonic(self) -> float:
        return super().monotonic() * HURRY

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / HURRY)

    def call_later(self, seconds: float, callback: Any) -> Timer:
        return super().call_later(seconds / HURRY, callback)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One child: the command's arguments, where it works, what its environment has besides, and what befalls it."""

    args: list[str]
    cwd: str
    env: dict[str, str]
    out: str
    deadline_s: float
    plan: dict[str, Any] | None
    file_bytes_max: int | None


def _live(order: Order, talk: int | None) -> None:
    """The child's life. Does not return. `talk` is for what it says, where its files are not to be trusted."""
    os.chdir(order.cwd)
    os.environ.update(order.env)
    for number, path in ((0, os.devnull), (1, order.out + ".out"), (2, order.out + ".err")):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    if talk is not None:
        os.dup2(talk, 2)
        os.close(talk)
        # The stream that there is took the measure of a file, and would seek in a pipe.
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w")), encoding="utf-8", line_buffering=True)
    striking = None
    if order.plan is not None:
        plan = Plan.of_json(order.plan)
        disk = Disk(Path(plan.shadow))
        striking = Striking(plan, disk)
        Wrapped(Path(plan.root), striking, disk).install()
    if order.file_bytes_max is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes_max, resource.RLIM_INFINITY))
    tunemill.app.main_job.SystemClock = HurriedClock  # type: ignore[attr-defined] # imported there, not exported
    # Half of a child's work would be reading certificates, which nobody on loopback shows.
    ssl.SSLContext.load_verify_locations = lambda *_, **__: None  # type: ignore[method-assign]
    sys.argv = ["tunemill", *order.args]
    code = 1
    try:
        tunemill.cli.main()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        if striking is not None:
            striking.write_log()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _awaited(child: int, deadline_s: float) -> int | str:
    """How the child ended: an exit code, the negative number of a signal, or that it did not."""
    over = time.monotonic() + deadline_s
    while time.monotonic() < over:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return OVERDUE


def main() -> None:
    """Carry orders out until there are no more."""
    for line in sys.stdin:
        order = Order(**json.loads(line))
        how = _lived(order) if order.file_bytes_max is None else _lived_within_limits(order)
        sys.stdout.write(json.dumps(how) + "\n")
        sys.stdout.flush()


def _lived(order: Order, talk: int | None = None) -> int | str:
    child = os.fork()
    if child == 0:
        _live(order, talk)
    return _awaited(child, order.deadline_s)


def _lived_within_limits(order: Order) -> int | str:
    """A limit on the size of files is one for what it says, too, unless that goes into a pipe."""
    theirs, talk = os.pipe()
    with os.fdopen(theirs, "rb") as said:
        how = _lived(order, talk)
        os.close(talk)
        Path(order.out + ".err").write_bytes(said.read())
    return how


if __name__ == "__main__":
    main()
