"""A server that answers at once: what is measured beside it is the client and nothing else.

nginx with one worker and a fixed completion where it is installed; a few lines of asyncio in a process of its own where
not, which are slower: `ServerAtOnce.name` says which one it was.

    python bench/at_once.py [PORT]      the few lines of asyncio; prints the base URL as one line of JSON
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTING_S = 10.0
HEADER_BYTES_MAX = 64 * 1024
ANSWER = json.dumps(
    {
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
)
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
CONFIGURATION = """\
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            default_type application/json;
{headers}
            return 200 '{answer}';
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAtOnce:
    """Where it listens and what it is."""

    base_url: str
    name: str


@contextlib.contextmanager
def answering_at_once(*, core: int | None = None) -> Iterator[ServerAtOnce]:
    """The server, on a core of its own where `core` names one. Raises RuntimeError where it does not start."""
    with tempfile.TemporaryDirectory(prefix="tunemill-at-once-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        probe.close()
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        command = _own(port) if nginx is None else _nginx(nginx, Path(folder), port)
        with subprocess.Popen([*on_core(core), *command], stdout=subprocess.PIPE) as process:
            try:
                base_url = f"http://127.0.0.1:{port}/v1"
                _wait_for(base_url, process)
                yield ServerAtOnce(base_url=base_url, name="asyncio" if nginx is None else _version(nginx))
            finally:
                process.terminate()


def on_core(core: int | None) -> Sequence[str]:
    """What stands before a command that is to stay on one core; nothing where the system cannot do that."""
    return () if core is None or shutil.which("taskset") is None else ("taskset", "-c", str(core))


def _nginx(nginx: str, folder: Path, port: int) -> Sequence[str]:
    headers = "\n".join(f'            add_header {name} "{value}";' for name, value in HEADERS.items())
    text = CONFIGURATION.format(port=port, headers=headers, answer=ANSWER)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    return (nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log")


def _version(nginx: str) -> str:
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True)
    return said.stderr.strip().removeprefix("nginx version: ").replace("/", " ")


def _own(port: int) -> Sequence[str]:
    return (sys.executable, __file__, str(port))


def _wait_for(base_url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTING_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(base_url, timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError("the server that answers at once did not start")


async def _serve(port: int) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(ANSWER)), **HEADERS}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reply = f"HTTP/1.1 200 OK\r\n{lines}\r\n{ANSWER}".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, after = head.lower().partition(b"content-length:")
                await reader.readexactly(int(after.split(b"\r\n", 1)[0]) if found else 0)
                writer.write(reply)

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=HEADER_BYTES_MAX, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
