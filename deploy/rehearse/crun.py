"""The built image as a real container without an engine: buildah mounts its files, crun gives it its namespaces.

The container has what a pod has: its own processes, of which the image's entry point is the first; a read-only root; no
capabilities and no way to get any; /tmp in memory. Its network is this machine's. Needs root, buildah and crun.

The image's own entry point, environment, user and working directory are used, as an engine would do it.
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.rehearse.runtimes import SIGNALLED, USER, Pod, completed

# crun refuses machines that have both versions of cgroups, although it shall use none: it is not shown the second one.
_HIDING = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
_CRUN = ("unshare", "--mount", "sh", "-c", _HIDING, "sh", "crun", "--cgroup-manager=disabled")
_POLL_S = 0.02


class Crun:
    """See the module. Raises RuntimeError where the image is not there or cannot be mounted."""

    name = "crun"

    def __init__(self, image: str) -> None:
        self.config = image_config(image)
        self._folder = Path(tempfile.mkdtemp(prefix="tunemill-crun-"))
        self._container = _said(*_buildah(), "from", "--pull-never", image)
        self.root = Path(_said(*_buildah(), "mount", self._container))
        self._started = 0

    def start(self, pod: Pod) -> "CrunContainer":
        """Returns when the container's first process is there."""
        self._started += 1
        bundle = self._folder / f"pod{self._started}"
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(runtime_config(self.config, self.root, pod)), encoding="utf-8")
        inside = ("--cwd", self.config["WorkingDir"], "--user", self.config["User"])
        return CrunContainer(f"tunemill-{os.getpid()}-{self._started}", bundle, self._folder / "state", inside)

    def close(self) -> None:
        """Unmount."""
        completed([*_buildah(), "rm", self._container])
        shutil.rmtree(self._folder, ignore_errors=True)


class CrunContainer:
    """See `Container`."""

    def __init__(self, name: str, bundle: Path, state: Path, inside: tuple[str, ...]) -> None:
        self._name = name
        self._inside = inside
        self._crun = (*_CRUN, "--root", str(state))
        self._log = bundle / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._crun, "run", "--bundle", str(bundle), name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._first_process()

    def signal(self, number: int) -> None:
        """To its first process."""
        completed([*self._crun, "kill", self._name, str(int(number))])

    def wait(self, deadline_s: float) -> int | None:
        """Its exit code."""
        try:
            code = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None
        return SIGNALLED - code if code < 0 else code

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another process in its namespaces, as the image's user, with its environment."""
        return completed([*self._crun, "exec", *self._inside, self._name, *command])

    def log(self) -> str:
        """Of the file that it writes to."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def remove(self) -> None:
        """By force."""
        completed([*self._crun, "delete", "--force", self._name])
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _first_process(self) -> int | None:
        """Its number on this machine; None where it has already ended."""
        while self._process.poll() is None:
            state = completed([*self._crun, "state", self._name])
            if state.returncode == 0 and (pid := int(json.loads(state.stdout).get("pid") or 0)):
                return pid
            time.sleep(_POLL_S)
        return None


def is_possible(image: str) -> bool:
    """Whether this machine can do it, and the image is there."""
    if os.geteuid() != 0 or not shutil.which("crun") or not shutil.which(_buildah()[0]):
        return False
    return completed([*_buildah(), "inspect", "--type", "image", image]).returncode == 0


def image_config(image: str) -> dict[str, Any]:
    """What the image says of itself: User, Env, Entrypoint, Cmd, WorkingDir, Labels, Volumes, Healthcheck."""
    inspected = json.loads(_said(*_buildah(), "inspect", "--type", "image", image))
    config: dict[str, Any] = inspected["Docker"]["config"]
    return config


def runtime_config(image: dict[str, Any], root: Path, pod: Pod) -> dict[str, Any]:
    """The configuration that the OCI runtime specification asks for."""
    user, _, group = image["User"].partition(":")
    runs = (
        _bind(pod.folder / "runs", "/work/runs", "rw")
        if pod.runs_bytes is None
        else _memory("/work/runs", f"size={pod.runs_bytes}", f"uid={USER}", f"gid={USER}", "mode=755", "nodev")
    )
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": int(user), "gid": int(group)},
            "args": [*image["Entrypoint"], *pod.args],
            "env": [*image["Env"], *(f"{name}={value}" for name, value in pod.environment.items())],
            "cwd": image["WorkingDir"],
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            _memory("/dev", "mode=755", "size=64k"),
            _memory("/dev/shm", "mode=1777", "size=64m", "nodev"),
            _memory("/tmp", "mode=1777", "size=64m", "nodev"),
            runs,
            _bind(pod.folder / "recipes", "/work/recipes", "ro"),
            _bind(Path("/etc/resolv.conf"), "/etc/resolv.conf", "ro"),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }


def _memory(destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", *options]}


def _bind(source: Path, destination: str, mode: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", mode]}


def _buildah() -> list[str]:
    """The command, by the variables that deploy/build goes by."""
    os.environ.setdefault("BUILDAH_ISOLATION", "chroot")
    return shlex.split(os.environ.get("BUILDAH", "buildah --storage-driver vfs"))


def _said(*command: str) -> str:
    done = completed(command)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
