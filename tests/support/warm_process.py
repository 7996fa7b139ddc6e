"""A process that has everything loaded and forks a child a start: `python -m tests.support.warm_process PATH PID`.

It listens on a Unix socket at PATH and ends with the process PID. Whoever connects sends one order (JSON) with three
descriptors (stdin, stdout, stderr), and is told the child's process id and, when it ends, how, a message each. Between
this process and the child stands a keeper, which waits for the child and has no other task.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

from tests.support.warm import ORDER_BYTES_MAX, READY

# What a run, the commands and the simulator load when they come to need it.
LATER = (
    "aiofiles.os",
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore2",
    "openai.resources.files",
    "openai.resources.fine_tuning.alpha.graders",
    "openai.resources.fine_tuning.checkpoints.permissions",
    "openai.resources.fine_tuning.jobs.jobs",
    "openai.resources.models",
    "python_multipart",
    "starlette.applications",
    "truststore",
    "typer._click.decorators",
    "tunemill.app.main_job",
    "tunemill.app.tuning",
    "tunemill.cli.chat",
    "tunemill.cli.commands",
    "tunemill.cli.dataset",
    "tunemill.cli.ending",
    "tunemill.cli.look",
    "tunemill.cli.run",
    "tunemill.client.completions",
    "tunemill.client.fine_tuning",
    "tunemill.client.webhook",
    "tunemill.local.serving",
    "tunemill.local.simulator",
    "tunemill.telemetry.http.page.routes",
    "tunemill.telemetry.http.server",
    "uvicorn.lifespan.off",
    "uvloop",
)
A_MODEL = "gpt-4o-mini"


def _tunemill(arguments: list[str]) -> None:
    from tunemill.cli import main

    sys.argv = ["tunemill", *arguments]
    main()


def _simulator(arguments: list[str]) -> None:
    from tunemill.local import main

    sys.argv = ["tunemill.local", *arguments]
    sys.exit(main(arguments))


PROGRAMS: Mapping[str, Callable[[list[str]], None]] = {"tunemill": _tunemill, "tunemill.local": _simulator}


def _run(program: str, arguments: list[str]) -> None:
    if program in PROGRAMS:
        PROGRAMS[program](arguments)
    else:
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__")


def main(path: str, owner: int) -> None:
    """Carry orders out until the owner ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal: whoever started the children ends them
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen(64)
        watched = os.pidfd_open(owner)
        _load()
        gc.collect()
        gc.freeze()  # children look through none of this, and so copy none of it
        os.write(1, READY)
        while watched not in select.select([listening.fileno(), watched], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                os.close(watched)
                _keep(connection)
            connection.close()
            _reap()


def _load() -> None:
    for name in LATER:
        importlib.import_module(name)
    from genai_prices import Usage, calc_price

    from tunemill.pricing import price_of

    price_of(A_MODEL, "http://127.0.0.1", {})  # reads the table of prices, as each of us and the simulator do
    calc_price(Usage(input_tokens=1), A_MODEL)


def _reap() -> None:
    """Keepers that are done."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _keep(connection: socket.socket) -> NoReturn:
    """One child's life, told to whoever ordered it."""
    text, descriptors, _, _ = socket.recv_fds(connection, ORDER_BYTES_MAX, 3)
    if not text:
        os._exit(0)
    child = os.fork()
    if child == 0:
        connection.close()
        _live(json.loads(text), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    _tell(connection, pid=child)
    _, status, used = os.wait4(child, 0)
    _tell(connection, code=os.waitstatus_to_exitcode(status), cpu_s=used.ru_utime + used.ru_stime)
    os._exit(0)


def _tell(connection: socket.socket, **what: float) -> None:
    with contextlib.suppress(OSError):  # nobody may want to know any more
        connection.send(json.dumps(what).encode())


def _live(order: dict[str, object], descriptors: list[int]) -> NoReturn:
    """What a process of its own would find, then the command, and its end."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Those that there are took the measure of others, and would seek in a pipe.
    streams = (io.FileIO(0), io.FileIO(1, "w"), io.FileIO(2, "w"))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(streams[0]), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(streams[1]), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(streams[2]), encoding="utf-8", line_buffering=True)
    arguments, env = order["arguments"], order["env"]
    assert isinstance(arguments, list)
    assert isinstance(env, dict)
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests under nohup means the tests
    random.seed()
    tempfile.tempdir = None
    code = 1
    try:
        _run(str(order["program"]), arguments)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    # As the interpreter ends, but for taking all modules apart, which is most of what a short command would cost here.
    threading._shutdown()  # type: ignore[attr-defined] # as an interpreter does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
