"""A simulator for tests: `with Simulator("--latency-s", "0.05") as server:`. Standard library only, loopback only."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import warm

_STOP_DEADLINE_S = 10.0


class Simulator:
    """The embedded server as a child process that cannot outlive the test.

    `args` are those of `python -m tunemill.local`; backend and port are already given. `root_url` has no `/v1`.
    """

    def __init__(self, *args: str, backend: str = "simulator") -> None:
        self._args = ("--backend", backend, "--port", "0", "--exit-with-parent", *args)
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""
        self.root_url = ""
        self.model = ""

    def __enter__(self) -> Self:
        start = warm.cold if "llama" in self._args else warm.popen  # its library is not for forks
        self._process = start(
            "tunemill.local",
            *self._args,
            env=os.environ,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator ended with {self._process.wait()} before it was ready; see stderr")
        ready = json.loads(line)
        self.base_url = ready["base_url"]
        self.root_url = self.base_url.removesuffix("/v1")
        self.model = ready["model"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.root_url.rpartition(":")[2])

    def stop(self) -> int:
        """End the server; its exit status."""
        process = self._process
        assert process is not None
        process.terminate()
        try:
            return process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def books(self) -> dict[str, Any]:
        """The totals: what was received, admitted, billed, delivered, and so on."""
        totals: dict[str, Any] = self._call("GET", "/books")
        return totals

    def reset_books(self) -> dict[str, Any]:
        """Open new books; the totals of the old ones."""
        totals: dict[str, Any] = self._call("POST", "/books/reset", {})
        return totals

    def requests(self, *, billed_min: int = 0) -> Iterator[dict[str, Any]]:
        """One record for each distinct body: digest, received, billed, delivered."""
        with urllib.request.urlopen(f"{self.root_url}/books/requests?billed_min={billed_min}", timeout=30) as reply:
            yield from map(json.loads, reply)

    def control(self, **changes: object) -> dict[str, Any]:
        """Change settings while it runs: requests_per_minute, latency_s, faults, paused, refusing, ...; all of them."""
        settings: dict[str, Any] = self._call("POST", "/control", changes)
        return settings

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root_url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)
