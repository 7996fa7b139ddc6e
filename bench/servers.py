"""Who answers in the benchmark: the simulator, which keeps books and enforces limits, and nginx, which does nothing.

Both run on loopback on a free port, pinned to `cores`, and end with the block that started them.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.frame import NotInstalled
from bench.running import SERVER_CORES, pinned
from tunemill.local.child import LocalServerChild

MODEL = "gpt-4o-mini"
_READY_S = 20.0
COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A red cat waits in the rain; nobody else does. " * 4},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60},
}
NGINX = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=20000;
    location = /v1/chat/completions {{ add_header x-request-id bench; return 200 '{completion}'; }}
    location = /received {{ stub_status; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under way. `pid` is its process id, for its own memory and processor time."""

    base_url: str
    pid: int

    @property
    def root(self) -> str:
        """The address without /v1."""
        return self.base_url.removesuffix("/v1")


class Simulator(Server):
    """The simulator, with its books."""

    def books(self) -> dict[str, Any]:
        """Its own totals: received, billed, delivered, rate_limited, ..."""
        return dict(json.loads(fetch(f"{self.root}/books")))

    def received(self) -> int:
        """How many completion requests have come in so far."""
        return int(self.books()["received"])


class Nginx(Server):
    """nginx, which counts and does nothing else."""

    def received(self) -> int:
        """How many requests have come in so far, this question and the ones before it included."""
        return int(fetch(f"{self.root}/received").split(b"\n")[2].split()[2])


@contextlib.contextmanager
def simulator(*arguments: str, cores: Collection[int] = SERVER_CORES) -> Iterator[Simulator]:
    """The embedded server's simulator with these arguments of `python -m tunemill.local`."""
    with pinned(cores):
        child = LocalServerChild(["--backend", "simulator", *arguments])
        child.__enter__()
    try:
        yield Simulator(base_url=child.base_url, pid=child.pid)
    finally:
        child.stop()


@contextlib.contextmanager
def nginx(*, cores: Collection[int] = SERVER_CORES) -> Iterator[Nginx]:
    """nginx in one process, which returns one fixed completion at once. Raises NotInstalled where there is none."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        raise NotInstalled("nginx is not on this machine; install it (Debian: apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="tunemill-nginx-") as folder, contextlib.ExitStack() as stack:
        port = _free_port()
        config = Path(folder) / "nginx.conf"
        completion = json.dumps(COMPLETION)
        config.write_text(NGINX.format(folder=folder, port=port, completion=completion), encoding="utf-8")
        with pinned(cores):
            process = stack.enter_context(subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        _await_ready(f"http://127.0.0.1:{port}/received", process)
        yield Nginx(base_url=f"http://127.0.0.1:{port}/v1", pid=process.pid)


def fetch(url: str) -> bytes:
    """The body of a page on loopback."""
    with urllib.request.urlopen(url, timeout=30) as reply:
        body: bytes = reply.read()
    return body


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            fetch(url)
        except urllib.error.URLError:
            assert process.poll() is None, f"nginx ended with {process.returncode}"
            assert time.monotonic() < deadline, "nginx does not answer"
            time.sleep(0.02)
        else:
            return
