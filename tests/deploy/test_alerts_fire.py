"""A real Prometheus scrapes real runs, each of which has a trouble of its own, and each alert fires for the run that it
is to fire for. In the rules that it evaluates time is shorter, and nothing else is different."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import Popen

import pytest
from tests.deploy.prometheus_support import DEADLINE_S, Prometheus, alert_rules, hastened, needs_prometheus
from tests.support.ports import free_port
from tests.support.running import grid_recipe, started
from tests.support.running import run as run_to_its_end
from tests.support.simulator import Simulator
from tests.support.torture import Figures

FACTOR = 100
LINGER_S = "600"
SLOWLY = "[limits]\nrequests_per_minute = 480\nconcurrency = 16\n"
_SMALL_FILES = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_SLOW_DISK = Path(__file__).with_name("slow_disk.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One run and what befalls it: `alerts` are those that are to fire. `recipe` is what its recipe has beside the
    grid, `server` what its simulator is told, `under` what starts its process. `trouble` is made after its first
    answers. `code` is the exit code of a run that came to its end, and lingers."""

    alerts: frozenset[str]
    recipe: str = SLOWLY
    server: Sequence[str] = ()
    code: int | None = None
    under: Sequence[str] = ()
    trouble: Callable[[Simulator, Popen[bytes], Path], object] | None = None


def _silent(server: Simulator, _: Popen[bytes], __: Path) -> None:
    server.control(paused=True)


def _out(server: Simulator, _: Popen[bytes], __: Path) -> None:
    server.control(refusing=True)


def _without_quota(server: Simulator, _: Popen[bytes], __: Path) -> None:
    server.control(quota_usd=0)


def _paused(server: Simulator, _: Popen[bytes], folder: Path) -> None:
    assert run_to_its_end("pause", folder, base_url=server.base_url, cwd=folder).returncode == 0


def _killed(_: Simulator, process: Popen[bytes], __: Path) -> None:
    process.kill()


SCENES: Mapping[str, Scene] = {
    "well": Scene(alerts=frozenset()),
    "stuck": Scene(trouble=_silent, alerts=frozenset({"TunemillNoProgress"})),
    "out": Scene(trouble=_out, alerts=frozenset({"TunemillCircuitOpen"})),
    "poor": Scene(
        recipe=SLOWLY + "[budget]\nusd = 0.01\n",
        code=3,
        alerts=frozenset({"TunemillForecastAboveBudget", "TunemillBudgetNearlySpent", "TunemillRunEndedShort"}),
    ),
    "failing": Scene(
        recipe=SLOWLY + "attempts_max = 1\n",
        server=("--fault", "server_error=0.3"),
        alerts=frozenset({"TunemillRequestsFailing"}),
    ),
    "refused": Scene(trouble=_without_quota, code=5, alerts=frozenset({"TunemillRunEndedBadly"})),
    "full": Scene(
        under=(sys.executable, "-c", _SMALL_FILES),
        code=74,
        alerts=frozenset({"TunemillJournalFailing", "TunemillRunEndedBadly"}),
    ),
    "slow": Scene(under=(sys.executable, str(_SLOW_DISK)), alerts=frozenset({"TunemillJournalSlow"})),
    "paused": Scene(trouble=_paused, alerts=frozenset({"TunemillRunPaused"})),
    "gone": Scene(trouble=_killed, alerts=frozenset({"TunemillRunVanished"})),
}


def test_every_alert_has_a_scene() -> None:
    """None of them is believed only on paper."""
    assert set().union(*(scene.alerts for scene in SCENES.values())) == {rule["alert"] for rule in alert_rules()}


@needs_prometheus
@pytest.mark.torture
def test_each_alert_fires_when_its_cause_is_there(tmp_path: Path, figures: Figures) -> None:
    """Ten runs at once. The one that is well comes to a moment at which nobody is told anything of it; those that came
    to their end are there until they are told to go, and go as they would have gone."""
    ports = {name: free_port() for name in SCENES}
    processes: dict[str, Popen[bytes]] = {}
    servers: dict[str, Simulator] = {}
    with contextlib.ExitStack() as stack:
        stage = Prometheus(tmp_path / "prometheus", ports=list(ports.values()), rules=hastened(FACTOR))
        prometheus = stack.enter_context(stage)
        shared = stack.enter_context(Simulator("--latency-s", "0.1"))
        for name, scene in SCENES.items():
            is_apart = bool(scene.server) or scene.trouble in {_silent, _out, _without_quota}
            own = Simulator("--latency-s", "0.1", *scene.server)
            servers[name] = stack.enter_context(own) if is_apart else shared
            processes[name] = stack.enter_context(_run(name, scene, servers[name], ports[name], tmp_path))
        for name, scene in SCENES.items():
            if scene.trouble is not None:
                _wait_until(partial(_has_answers, prometheus, name), f"{name} has no answers")
                scene.trouble(servers[name], processes[name], tmp_path / name)
        _all_fire(prometheus)
        _wait_until(lambda: not any("well" in runs for runs in prometheus.firing().values()), "nothing is well")
        for name, scene in SCENES.items():
            if scene.code is not None:
                assert processes[name].poll() is None, f"{name} does not linger"
                processes[name].send_signal(signal.SIGTERM)
                assert processes[name].wait(DEADLINE_S) == scene.code, name
    figures.say(alerts=len(alert_rules()), fired=len(set().union(*(scene.alerts for scene in SCENES.values()))))


def _run(
    name: str, scene: Scene, server: Simulator, port: int, folder: Path
) -> contextlib.AbstractContextManager[Popen[bytes]]:
    recipe = grid_recipe(folder / f"{name}.toml", rows=50_000, more=scene.recipe, name=name)
    flags = ("run", recipe, "--run-dir", name, "--until", "generate", "--listen", f"127.0.0.1:{port}")
    return started(*flags, base_url=server.base_url, cwd=folder, under=scene.under, TUNEMILL_LINGER=LINGER_S)


def _has_answers(prometheus: Prometheus, run: str) -> bool:
    return any(value > 0 for _, value in prometheus.values(f'tunemill_requests{{run="{run}", state="completed"}}'))


def _all_fire(prometheus: Prometheus) -> None:
    """Wait until each has fired once; some stop when what they told of is over. What they say is filled in."""
    missing = {(alert, name) for name, scene in SCENES.items() for alert in scene.alerts}

    def none_is_missing() -> bool:
        for alert, runs in prometheus.firing().items():
            for run, annotations in runs.items():
                assert f"{run}: " in annotations["summary"]
                assert not [text for text in annotations.values() if "<error" in text or "{{" in text or "%!" in text]
                missing.discard((alert, run))
        return not missing

    _wait_until(none_is_missing, lambda: f"did not fire: {sorted(missing)}")


def _wait_until(is_so: Callable[[], bool], problem: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, problem if isinstance(problem, str) else problem()
        time.sleep(0.25)
