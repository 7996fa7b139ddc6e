"""A real Prometheus for tests: scrapes quickly, evaluates rules in which time is shorter, and is asked over HTTP."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DEADLINE_S = 100.0
_INTERVAL = "500ms"
_MINUTES = re.compile(r"\b(\d+)m\b")
_MINUTES_IN_SECONDS = re.compile(r"\b(\d+) \* 60\b")

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool, of Debian's package prometheus, is not installed"
)


def alert_rules() -> list[dict[str, Any]]:
    """The rules as they are deployed."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def hastened(factor: float) -> str:
    """The deployed rules with every span of time so many times shorter; what they ask is the same."""

    def shorter(text: str) -> str:
        text = _MINUTES.sub(lambda found: f"{int(found[1]) * 60_000 / factor:.0f}ms", text)
        return _MINUTES_IN_SECONDS.sub(lambda found: f"{int(found[1]) * 60 / factor:g}", text)

    rules = [
        {**rule, "expr": shorter(rule["expr"]), **({"for": shorter(rule["for"])} if "for" in rule else {})}
        for rule in alert_rules()
    ]
    return yaml.safe_dump({"groups": [{"name": "hastened", "rules": rules}]}, sort_keys=False)


class Prometheus:
    """A child process that scrapes these ports of this machine. `rules` is the text of a rule file."""

    def __init__(self, folder: Path, *, ports: Sequence[int], rules: str) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        config = {
            "global": {"scrape_interval": _INTERVAL, "scrape_timeout": _INTERVAL, "evaluation_interval": _INTERVAL},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "tunemill", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def __enter__(self) -> Self:
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + DEADLINE_S
        while not self._is_ready():
            assert self._process.poll() is None, (self._folder / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "Prometheus is not ready"
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def values(self, expr: str) -> list[tuple[Mapping[str, str], float]]:
        """What an expression comes to now: labels and value of each series. Fails the test where it cannot be asked."""
        answer = self._get("query", query=expr)
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def firing(self) -> dict[str, dict[str, Mapping[str, str]]]:
        """The alerts that fire: by name and run, their annotations."""
        found: dict[str, dict[str, Mapping[str, str]]] = {}
        for alert in self._get("alerts")["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                found.setdefault(labels["alertname"], {})[labels["run"]] = alert["annotations"]
        return found

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")
