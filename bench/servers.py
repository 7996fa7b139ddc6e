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
from abc import ABC, abstractmethod
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
    "created": 1_700_000_000,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "The red cat waits under the eaves. " * 12,
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 24,
        "completion_tokens": 40,
        "total_tokens": 64,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "system_fingerprint": "fp_bench",
}
# What api.openai.com says with every answer, so that as many headers have to be read.
HEADERS = {
    "x-request-id": "req_bench",
    "openai-processing-ms": "1",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "100000000",
    "x-ratelimit-limit-tokens": "100000000000",
    "x-ratelimit-remaining-requests": "99999999",
    "x-ratelimit-remaining-tokens": "99999999999",
    "x-ratelimit-reset-requests": "1ms",
    "x-ratelimit-reset-tokens": "0s",
}
NGINX = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 20000; }}
http {{
  log_format moments '$msec';
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=20000;
    location = /v1/chat/completions {{
      access_log {folder}/moments.log moments;
{headers}
      return 200 '{completion}';
    }}
    location = /ready {{ return 204; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(ABC):
    """A server under way. `pid` is its process id, for its own memory and processor time."""

    base_url: str
    pid: int

    @property
    def root(self) -> str:
        """The address without /v1."""
        return self.base_url.removesuffix("/v1")

    @abstractmethod
    def received(self) -> int:
        """How many completion requests have come in so far."""

    @abstractmethod
    def window_s(self, since: float = 0.0) -> float:
        """Seconds from the first completion request at or after `since` (seconds since 1970) to the last."""


class Simulator(Server):
    """The simulator, with its books."""

    def books(self) -> dict[str, Any]:
        """Its own totals: received, billed, delivered, rate_limited, ..."""
        return dict(json.loads(fetch(f"{self.root}/books")))

    def received(self) -> int:
        """How many completion requests have come in so far."""
        return int(self.books()["received"])

    def window_s(self, since: float = 0.0) -> float:
        """As the books have it; nobody may have sent anything before but what is not to count."""
        books = self.books()
        return float(books["last_at"]) - max(since, float(books["first_at"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx(Server):
    """nginx, which writes down the moment of each completion request and does nothing else."""

    log: Path

    def moments(self, since: float = 0.0) -> list[float]:
        """When completion requests were answered, in seconds since 1970."""
        found = map(float, self.log.read_text(encoding="ascii").split())
        return [moment for moment in found if moment >= since]

    def received(self) -> int:
        """How many completion requests have been answered so far."""
        return len(self.moments())

    def window_s(self, since: float = 0.0) -> float:
        """As the log has it, to the millisecond."""
        moments = self.moments(since)
        return max(moments) - min(moments)


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
        headers = "\n".join(f'      add_header {name} "{value}";' for name, value in HEADERS.items())
        text = NGINX.format(folder=folder, port=port, headers=headers, completion=completion)
        config.write_text(text, encoding="utf-8")
        with pinned(cores):
            process = stack.enter_context(subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        _await_ready(f"http://127.0.0.1:{port}/ready", process)
        yield Nginx(base_url=f"http://127.0.0.1:{port}/v1", pid=process.pid, log=Path(folder) / "moments.log")


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
