"""The server's life as a process: files, socket, ready line, signals, the parent, and the books at the end."""

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import orjson
import uvicorn

from tunemill.local.application import Application
from tunemill.local.backend import Backend
from tunemill.local.controls import Controls
from tunemill.local.missing import BackendMissing
from tunemill.local.options import ServerOptions
from tunemill.local.wire import TransportProtocol

BACKLOG = 16_384  # connections that wait to be accepted; the system may allow fewer
KEEP_ALIVE_S = 600  # long, so that it is never the server that drops an idle connection under a request
HEADERS_BYTES_MAX = 64 * 1024
# Whoever holds ten thousand requests holds a million objects. Python would look through them all again and again,
# for up to half a second, while nobody is answered and nobody's arrival is noted.
_GARBAGE_THRESHOLDS = (10_000, 3, 300)
_EXIT_GRACE_S = 5.0
_STDIN = 0  # by number: Python has no sys.stdin where the parent closed it


def serve(options: ServerOptions) -> None:
    """Serve until SIGTERM, SIGINT or, where asked for, the end of standard input. Requests in flight are then cut.

    Prints one line of JSON on stdout when connections are accepted. Raises `BackendMissing` where a library
    or a model is not installed, and OSError where the address cannot be had.
    """
    if importlib.util.find_spec("python_multipart") is None:
        raise BackendMissing("the server needs python-multipart; install it with: pip install 'tunemill[local]'")
    raise_file_limit()
    with contextlib.closing(_listen(options)) as listening:
        _run(_serve(options, listening))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed."""
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    uvloop = importlib.import_module("uvloop") if importlib.util.find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(serving)


def raise_file_limit() -> None:
    """As many open files, and so connections, as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off only for sockets that say they are TCP; with it on,
    # every reply (headers and body are two writes) waits 40 ms for the client's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
    except BaseException:
        listening.close()
        raise
    return listening


async def _serve(options: ServerOptions, listening: socket.socket) -> None:
    # Loading a model takes a while, and happens before the ready line.
    application = Application(options, lambda controls: make_backend(options, controls))
    server = _Server(_config(application), ready=_ready_line(options, application.backend, listening))
    stop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        stop.add_signal_handler(number, server.stop)
    if options.exit_with_parent:
        _watch_parent(stop, server)
    try:
        await server.serve(sockets=[listening])
    finally:
        application.close()
        _write_books(options, application)


def make_backend(options: ServerOptions, controls: Controls) -> Backend:
    """The backend that the options name; the llama backend's libraries are loaded only for it."""
    if options.backend == "llama":
        from tunemill.local.llama import LlamaBackend

        return LlamaBackend.load(options.llama)
    from tunemill.local.simulator import SimulatorBackend, read_texts

    return SimulatorBackend(controls, texts=read_texts(options.texts) if options.texts else ())


def _config(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=TransportProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
    )


class _Server(uvicorn.Server):
    """uvicorn's server that says when it is ready, leaves signals to us, and cuts what is in flight when it ends."""

    def __init__(self, config: uvicorn.Config, *, ready: bytes) -> None:
        super().__init__(config)
        self._ready = ready

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # It may be that nobody reads the line any more; that is no reason not to serve.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.buffer.write(self._ready)
            sys.stdout.buffer.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What is in flight now is cut on purpose, and needs no traceback for each request.
        logging.getLogger("uvicorn.error").disabled = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)


def _ready_line(options: ServerOptions, backend: Backend, listening: socket.socket) -> bytes:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    line: dict[str, Any] = {"base_url": f"http://{shown}:{port}/v1", "backend": backend.name}
    line["model"] = options.models[0] if options.models else backend.default_model
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _watch_parent(loop: asyncio.AbstractEventLoop, server: _Server) -> None:
    """End when standard input does. A thread, because a pipe, a terminal and /dev/null cannot all be polled."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(_STDIN, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(server.stop)
        # An end that hangs, in native code for instance, must not leave the process behind.
        threading.Event().wait(_EXIT_GRACE_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _write_books(options: ServerOptions, application: Application) -> None:
    if options.books is not None:
        options.books.write_bytes(orjson.dumps(application.completions.books.totals(), option=orjson.OPT_INDENT_2))
