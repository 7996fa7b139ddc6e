"""A container, as far as a rehearsal needs one: started on a volume, signalled, asked from inside, waited for.

    Engine     docker or podman runs the image
    Crun       crun runs the image that buildah built: no service, the real namespaces (`deploy.rehearse.crun`)
    Processes  no image: the command of this checkout, in a folder laid out like the image's

All of them share this machine's network, so that the simulator on loopback is their provider.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

USER = 10001
SIGNALLED = 128  # a platform's exit code for a process that a signal ended is this and the signal's number
START_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What is started: the command's arguments, its environment, and where its volume and recipes are.

    `folder` has `runs` and `recipes` in it, which the container sees in its working directory. `runs_bytes` gives it a
    volume in memory of that size instead, which ends with it.
    """

    args: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    runs_bytes: int | None = None


class Container(Protocol):
    """A started container."""

    def signal(self, number: int) -> None:
        """To its first process."""

    def wait(self, deadline_s: float) -> int | None:
        """Its exit code; None where it still runs after so long."""

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What `kubectl exec` does."""

    def log(self) -> str:
        """What it said so far on both of its outputs."""

    def remove(self) -> None:
        """Kill it where it still runs, and leave nothing of it behind but its volume."""


class Runtime(Protocol):
    """Whoever starts containers."""

    name: str

    def start(self, pod: Pod) -> Container:
        """At once; it runs when this returns."""

    def close(self) -> None:
        """Nothing more will be started."""


def laid_out(folder: Path) -> Path:
    """The folders of a pod, which the image's user may write to as far as a volume goes."""
    for name, mode in (("runs", 0o777), ("recipes", 0o755)):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder / "runs", USER, USER)
        (folder / "runs").chmod(0o755)
    folder.chmod(0o755)
    return folder


class Processes:
    """Processes in the place of containers. What the image alone can show is not shown."""

    name = "processes"

    def start(self, pod: Pod) -> "Process":
        """The checkout's command."""
        return Process(pod)

    def close(self) -> None:
        """Nothing to do."""


class Process:
    """See `Container`."""

    def __init__(self, pod: Pod) -> None:
        self._folder = pod.folder
        self._environment = {**os.environ, **pod.environment}
        self._log = pod.folder / f"log-{time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_command(), *pod.args],
                cwd=pod.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def signal(self, number: int) -> None:
        """To it."""
        self._process.send_signal(number)

    def wait(self, deadline_s: float) -> int | None:
        """Its exit code."""
        try:
            code = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None
        return SIGNALLED - code if code < 0 else code

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """In the same folder, with the same environment."""
        words = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
        return completed(words, cwd=self._folder, env=self._environment)

    def log(self) -> str:
        """Of the file that it writes to."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def remove(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class Engine:
    """docker or podman."""

    def __init__(self, program: str, image: str) -> None:
        self.name = program
        self._program = program
        self._image = image

    def start(self, pod: Pod) -> "EngineContainer":
        """As the manifests have it: read-only, without capabilities, with /tmp in memory."""
        volume = (
            ("--volume", f"{pod.folder / 'runs'}:/work/runs")
            if pod.runs_bytes is None
            else ("--tmpfs", f"/work/runs:size={pod.runs_bytes},uid={USER},gid={USER}")
        )
        environment = [word for name, value in pod.environment.items() for word in ("--env", f"{name}={value}")]
        started = completed(
            [
                *(self._program, "run", "--detach", "--network", "host", "--read-only", "--tmpfs", "/tmp:size=64m"),
                *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", *volume),
                *("--volume", f"{pod.folder / 'recipes'}:/work/recipes:ro", *environment, self._image, *pod.args),
            ]
        )
        started.check_returncode()
        return EngineContainer(self._program, started.stdout.strip())

    def close(self) -> None:
        """Nothing to do."""


class EngineContainer:
    """See `Container`."""

    def __init__(self, program: str, name: str) -> None:
        self._program = program
        self._name = name

    def signal(self, number: int) -> None:
        """To its first process."""
        completed([self._program, "kill", "--signal", str(int(number)), self._name])

    def wait(self, deadline_s: float) -> int | None:
        """Its exit code."""
        try:
            ended = completed([self._program, "wait", self._name], deadline_s=deadline_s)
        except subprocess.TimeoutExpired:
            return None
        return int(ended.stdout)

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The engine's exec."""
        return completed([self._program, "exec", self._name, *command])

    def log(self) -> str:
        """The engine's log."""
        logs = completed([self._program, "logs", self._name])
        return logs.stdout + logs.stderr

    def remove(self) -> None:
        """By force."""
        completed([self._program, "rm", "--force", "--volumes", self._name])


def engine_with(image: str) -> str | None:
    """Of docker and podman the first that works here and has the image."""
    for program in ("docker", "podman"):
        if shutil.which(program) and completed([program, "image", "inspect", image]).returncode == 0:
            return program
    return None


def completed(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    deadline_s: float = START_DEADLINE_S,
) -> subprocess.CompletedProcess[str]:
    """Run to its end, with what it said. Raises TimeoutExpired."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=deadline_s,
        stdin=subprocess.DEVNULL,
    )


def _command() -> str:
    return str(Path(sys.executable).with_name("tunemill"))
