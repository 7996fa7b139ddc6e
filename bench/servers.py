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
from collections.abc import Collection, Iterator, Mapping
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
{tls}
    location = /v1/chat/completions {{
      {answer}
      access_log {folder}/moments.log moments;
{headers}
    }}
    location = /ready {{ return 204; }}
  }}
}}
"""
TLS = """\
    listen 127.0.0.1:{port} ssl backlog=20000;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
"""
# nginx takes no text above 4 KiB in its configuration. To a file nothing can be posted; what nginx would say to that
# (405) is replaced by the file.
_IN_CONFIGURATION_MAX = 3_000
_FROM_FILE = """\
root {folder}; try_files /answer.json =404; error_page 405 =200 /answer.json;
    }}
    location = /answer.json {{
      root {folder};"""


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
    certificate: Path | None = None  # what a client has to trust (SSL_CERT_FILE), where it is reached by https

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
def nginx(
    *, cores: Collection[int] = SERVER_CORES, completion: Mapping[str, object] = COMPLETION, tls: bool = False
) -> Iterator[Nginx]:
    """nginx in one process, which returns one fixed completion at once, over https where asked for. Raises NotInstalled
    where there is none."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        raise NotInstalled("nginx is not on this machine; install it (Debian: apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="tunemill-nginx-") as folder, contextlib.ExitStack() as stack:
        port = _free_port()
        config = Path(folder) / "nginx.conf"
        headers = "\n".join(f'      add_header {name} "{value}";' for name, value in HEADERS.items())
        certificate = _certificate(Path(folder)) if tls else None
        tls_port = _free_port()
        text = NGINX.format(
            folder=folder,
            port=port,
            headers=headers,
            answer=_answer(Path(folder), json.dumps(completion)),
            tls=TLS.format(port=tls_port, certificate=certificate, key=f"{folder}/key.pem") if tls else "",
        )
        config.write_text(text, encoding="utf-8")
        with pinned(cores):
            process = stack.enter_context(subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        _await_ready(f"http://127.0.0.1:{port}/ready", process)
        base_url = f"https://127.0.0.1:{tls_port}/v1" if tls else f"http://127.0.0.1:{port}/v1"
        log = Path(folder) / "moments.log"
        yield Nginx(base_url=base_url, pid=process.pid, log=log, certificate=certificate)


def _answer(folder: Path, completion: str) -> str:
    """What nginx has to be told so that it says this."""
    if len(completion) <= _IN_CONFIGURATION_MAX:
        return f"return 200 '{completion}';"
    (folder / "answer.json").write_text(completion, encoding="utf-8")
    return _FROM_FILE.format(folder=folder)


def _certificate(folder: Path) -> Path:
    """Of 127.0.0.1, signed by itself; the key is beside it. Raises NotInstalled where there is no openssl."""
    certificate, program = folder / "certificate.pem", shutil.which("openssl")
    if program is None:
        raise NotInstalled("openssl is not on this machine; install it (Debian: apt-get install openssl)")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj /CN=tunemill-bench"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(certificate)]
    subprocess.run([program, *words.split(), *more], check=True, capture_output=True)
    return certificate


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
