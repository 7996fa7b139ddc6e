"""The built image: its main job, its end on SIGTERM with requests in flight, and what it says where things go wrong."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.rehearse.accounts import accounts_of
from deploy.rehearse.crun import Crun
from deploy.rehearse.runtimes import USER, Container, Pod, Runtime, laid_out
from deploy.rehearse.stage import (
    RUN,
    Unexpected,
    environment_of,
    fetched,
    lines_of,
    listening_at,
    recipe_in,
    require,
    say,
    until,
)
from tests.support.simulator import Simulator

ROWS = 400
IN_FLIGHT = 64
TIGHT = f"[limits]\nconcurrency = {IN_FLIGHT}\n[budget]\nusd = 5.0\n"
_VOLUME_BYTES = 96 * 1024


def smoke(runtime: Runtime) -> None:
    """All of it. Raises Unexpected."""
    parts: tuple[Callable[[Runtime, Path], None], ...] = (
        _version, _embedded, _first_request, _drain, _full_volume, _foreign_volume, _no_network,
    )  # fmt: skip
    for part in parts:
        folder = Path(tempfile.mkdtemp(prefix="tunemill-smoke-"))
        try:
            part(runtime, laid_out(folder / "pod"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _version(runtime: Runtime, folder: Path) -> None:
    """It starts at all, as nobody in particular."""
    began = time.monotonic()
    with _started(runtime, Pod(args=["--version"], folder=folder)) as container:
        _ends_with(container, 0)
        say(f"{container.log().strip()}: answered in {time.monotonic() - began:.2f} s")


def _embedded(runtime: Runtime, folder: Path) -> None:
    """The main job on the embedded simulator, sending from processes of its own, with a read-only root."""
    recipe_in(folder, rows=ROWS, more=TIGHT)
    args = ["run", "recipes/recipe.toml", "--local", "--backend", "simulator", "--processes", "2"]
    environment = {"TUNEMILL_RUN_DIR": RUN, "TUNEMILL_LOG_FORMAT": "json"}
    with _started(runtime, Pod(args=args, folder=folder, environment=environment)) as container:
        until((folder / RUN / "control.sock").exists, "the run is under way")
        healthy = container.run_inside("tunemill-health")
        inside = _processes_of(container)
        _ends_with(container, 0)
    files = {name: len(list(lines_of(folder / RUN / name))) for name in ("train.jsonl", "validation.jsonl")}
    require(
        sum(files.values()) + len(list(lines_of(folder / RUN / "rejects.jsonl"))) == ROWS, f"rows are missing: {files}"
    )
    told = healthy.stdout.strip() + healthy.stderr.strip()
    require(healthy.returncode == 0 and "running" in told, f"not healthy: {told}")
    require(not [state for state in inside if state == "Z"], f"processes that nobody waits for: {inside}")
    say(f"main job on the embedded simulator: exit 0, {files}; health: {told}")


def _first_request(runtime: Runtime, folder: Path) -> None:
    """From the start of the container to the first request at the provider."""
    recipe_in(folder, rows=16, more=TIGHT)
    with Simulator() as provider:
        began = time.time()
        with _started(runtime, Pod(args=_run(), folder=folder, environment=environment_of(provider))) as container:
            _ends_with(container, 0)
            whole = time.time() - began
        first_at = float(provider.books()["first_at"])
        say(f"first request {first_at - began:.2f} s after the start, 16 rows to the dataset in {whole:.2f} s")


def _drain(runtime: Runtime, folder: Path) -> None:
    """SIGTERM with requests in flight: what is in flight arrives and is kept, and the next container does the rest."""
    recipe_in(folder, rows=ROWS, more=TIGHT)
    with Simulator("--latency-s", "2", "--latency-sigma", "0.3") as provider:
        listen = listening_at()
        pod = Pod(args=_run(), folder=folder, environment=environment_of(provider, TUNEMILL_LISTEN=listen))
        with _started(runtime, pod) as container:
            until(lambda: provider.books()["billed"] >= IN_FLIGHT, "some answers are there")
            until(lambda: provider.books()["in_flight"] >= IN_FLIGHT // 2, "many requests are in flight")
            require(fetched(listen, "/healthz") is not None, "/healthz does not answer")
            before = provider.books()
            container.signal(signal.SIGTERM)
            began = time.monotonic()
            _ends_with(container, 128 + signal.SIGTERM)
            seconds = time.monotonic() - began
        after = provider.books()
        kept = _completed(folder / RUN)
        require(after["delivered"] == after["billed"] == kept, f"{after['billed']} billed, {kept} kept")
        say(
            f"SIGTERM with {before['in_flight']} requests in flight: exit 143 after {seconds:.2f} s, "
            f"{after['billed'] - before['billed']} answers came meanwhile, {kept} of {after['billed']} billed are kept"
        )
        with _started(runtime, pod) as container:
            _ends_with(container, 0)
        accounts = accounts_of(folder / RUN, provider.books(), rows=ROWS)
    faults = list(accounts.faults(budget_usd=5.0, doubtful=0))
    require(not faults, "; ".join(faults))
    for line in accounts.lines():
        say(f"  {line}")


def _full_volume(runtime: Runtime, folder: Path) -> None:
    """The volume is full: exit 74, or 2 where there is not even room to begin, and the message says so."""
    recipe_in(folder, rows=ROWS, more=TIGHT)
    with Simulator() as provider:
        pod = Pod(args=_run(), folder=folder, environment=environment_of(provider), runs_bytes=_VOLUME_BYTES)
        _says(runtime, pod, 74, "make room")


def _foreign_volume(runtime: Runtime, folder: Path) -> None:
    """The volume belongs to somebody else: exit 2, and the message says to whom, and what to do."""
    if os.geteuid() != 0:
        return
    recipe_in(folder, rows=ROWS, more=TIGHT)
    os.chown(folder / "runs", 0, 0)
    with Simulator() as provider:
        _says(runtime, Pod(args=_run(), folder=folder, environment=environment_of(provider)), 2, f"user {USER}")


def _no_network(runtime: Runtime, folder: Path) -> None:
    """Nobody is there: nothing is sent, nothing is lost, and SIGTERM ends the wait."""
    recipe_in(folder, rows=ROWS, more=TIGHT)
    environment = {"OPENAI_BASE_URL": f"http://{listening_at()}/v1", "OPENAI_API_KEY": "none", "TUNEMILL_RUN_DIR": RUN}
    with _started(runtime, Pod(args=_run(), folder=folder, environment=environment)) as container:
        until(lambda: "circuit" in container.log(), "the circuit opens")
        asked = container.run_inside("tunemill", "status", RUN, "--json")
        require(asked.returncode == 0, f"status says {asked.stderr}; the run says {container.log()[-2000:]}")
        waiting = json.loads(asked.stdout)["waiting_for"]
        container.signal(signal.SIGTERM)
        _ends_with(container, 128 + signal.SIGTERM)
    say(f"without a provider: waits for {waiting}, and ends on SIGTERM")


def _says(runtime: Runtime, pod: Pod, exit_code: int, words: str) -> None:
    with _started(runtime, pod) as container:
        _ends_with(container, exit_code)
        last = container.log().strip().splitlines()[-1]
    require(words in last, f"exit {exit_code}, but the last line does not say {words!r}: {last}")
    say(f"exit {exit_code}: {last}")


@contextmanager
def _started(runtime: Runtime, pod: Pod) -> Iterator[Container]:
    container = runtime.start(pod)
    try:
        yield container
    finally:
        container.remove()


def _ends_with(container: Container, exit_code: int, deadline_s: float = 180.0) -> None:
    code = container.wait(deadline_s)
    if code != exit_code:
        raise Unexpected(f"exit code {code} instead of {exit_code}; it said: {container.log()[-4000:]}")


def _run() -> list[str]:
    return ["run", "recipes/recipe.toml", "--log-format", "json"]


def _completed(folder: Path) -> int:
    from tunemill.journal import open_for_reading

    journal = open_for_reading(folder / "journal")
    answers = journal.totals.answers
    journal.close()
    return answers


def _processes_of(container: Container) -> list[str]:
    """The states of the processes inside, by their letters in /proc."""
    script = (
        "import glob; print(' '.join(open(p).read().rpartition(') ')[2][0] for p in glob.glob('/proc/[0-9]*/stat')))"
    )
    return container.run_inside("python", "-c", script).stdout.split()


def facts(runtime: Runtime) -> None:
    """What the image says of itself, where it can be asked."""
    if isinstance(runtime, Crun):
        config = runtime.config
        say(f"user {config['User']}, entry point {config['Entrypoint']}, health check {config['Healthcheck']['Test']}")
        say(f"labels {config['Labels']}")
