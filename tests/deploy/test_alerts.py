"""The alerts: what promtool says of them, and whether each has what the person needs who is woken."""

import re
import subprocess

import pytest
import yaml
from deploy.prometheus.operator_rules import rule_object
from tests.deploy.prometheus_support import ROOT, RULES, alert_rules, hastened, needs_promtool

from tunemill.telemetry.metrics.table import ANSWERED, HISTOGRAMS, METRICS

ALERTS = alert_rules()
NAMES = [rule["alert"] for rule in ALERTS]
PAGE = (ROOT / "deploy" / "ALERTS.md").read_text(encoding="utf-8")
TESTS = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yaml"))


def _promtool(*args: object) -> str:
    """What promtool has to say; fails the test unless it is content."""
    done = subprocess.run(
        ["promtool", *map(str, args)], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_reads_the_rules() -> None:
    """Every expression parses, every template is one."""
    assert f"SUCCESS: {len(ALERTS)} rules found" in _promtool("check", "rules", RULES)


@needs_promtool
def test_promtool_reads_what_is_scraped() -> None:
    """The configuration of the Prometheus beside the run, with the rules that it names."""
    assert "SUCCESS" in _promtool("check", "config", RULES.with_name("prometheus.yaml"))


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_rules_pass_their_tests(file: object) -> None:
    """Each alert fires when it is to, and does not when something like it is all right."""
    assert "SUCCESS" in _promtool("test", "rules", file)


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_both_ways(name: str) -> None:
    """There is a moment at which it fires, in a world in which others do not."""
    (test,) = [text for file in TESTS for text in _tests_in(file.read_text(encoding="utf-8")) if f'"{name}"' in text]
    assert f'ALERTS{{alertname="{name}", alertstate="firing", run=' in test
    named = set(re.findall(rf'ALERTS{{alertname="{name}", alertstate="firing", run="([^"]+)"', test))
    assert set(re.findall(r'series: \'[^\']*run="([^"]+)"', test)) > named, "a run for which it must not fire"


def _tests_in(text: str) -> list[str]:
    return text.split("\n  - name: ")[1:]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """Severity, which run, a sentence of what to do, and a section of the page on alerts."""
    name, annotations = str(rule["alert"]), rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "{{ $labels.run }}" in annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook"] == f"deploy/ALERTS.md#{name.lower()}"
    assert f"\n## {name}\n" in PAGE
    assert f"| [{name}](#{name.lower()}) | {rule['labels']['severity']} |" in PAGE


def test_alerts_ask_for_metrics_that_there_are() -> None:
    """A name that is mistyped, or was changed, would be an alert that never fires."""
    known = {described.name for described in METRICS} | {f"{described.name}_bucket" for described in HISTOGRAMS}
    asked = {name for rule in ALERTS for name in re.findall(r"tunemill_[a-z_]+", str(rule["expr"]))}
    assert asked <= known


def test_what_is_no_answer_is_a_failure() -> None:
    """The pattern of the rule is the code's list of outcomes that are answers."""
    (pattern,) = {match for rule in ALERTS for match in re.findall(r'outcome!~"([^"]+)"', str(rule["expr"]))}
    assert set(pattern.split("|")) == set(ANSWERED)


def test_the_operator_gets_the_same_rules() -> None:
    """`make deploy-files` writes them."""
    path = ROOT / "deploy" / "kubernetes" / "components" / "pod-monitor" / "prometheusrule.yaml"
    assert path.read_text(encoding="utf-8") == rule_object()
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert yaml.safe_load(rule_object())["spec"] == {"groups": groups}


def test_hastened_rules_differ_in_spans_of_time_alone() -> None:
    """What the tests with a real Prometheus go by asks the same."""
    text = hastened(60)
    assert "for: 5000ms" in text
    assert "[15000ms]" in text
    assert "> 10\n" in text
    assert not re.search(r"\d+m\b", "".join(re.findall(r"(?:expr|for): .*", text)))
