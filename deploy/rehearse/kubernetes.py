"""What Kubernetes makes of deploy/kubernetes/base/job.yaml: which pod is started, and what its end means for the Job.

COMPLETE        exit code 0
FAIL_JOB        the first rule of podFailurePolicy that fits says so: no other pod is started
NOT_COUNTED     another pod, and the failure does not count against backoffLimit
COUNTED         another pod, later each time, as long as backoffLimit allows
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import yaml

JOB = Path(__file__).parents[1] / "kubernetes" / "base" / "job.yaml"
_DISRUPTED = "DisruptionTarget"


class Verdict(Enum):
    """What the Job does after a pod has ended."""

    COMPLETE = auto()
    FAIL_JOB = auto()
    NOT_COUNTED = auto()
    COUNTED = auto()


_ACTIONS = {"FailJob": Verdict.FAIL_JOB, "Ignore": Verdict.NOT_COUNTED, "Count": Verdict.COUNTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One of podFailurePolicy: it fits exit codes in or outside of a set, or a pod that was disrupted."""

    verdict: Verdict
    exit_codes: frozenset[int] = frozenset()
    is_in: bool = True
    disrupted: bool = False

    def fits(self, exit_code: int, *, disrupted: bool) -> bool:
        """Whether it is about a pod that ended so."""
        if self.disrupted:
            return disrupted
        return (exit_code in self.exit_codes) == self.is_in


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a rehearsal needs of the manifest. `grace_s` lies between SIGTERM and SIGKILL."""

    args: tuple[str, ...]
    environment: dict[str, str]
    grace_s: float
    backoff_limit: int
    rules: tuple[Rule, ...]

    def verdict(self, exit_code: int, *, disrupted: bool = False) -> Verdict:
        """The first rule that fits decides; an end that none fits is counted."""
        if exit_code == 0:
            return Verdict.COMPLETE
        for rule in self.rules:
            if rule.fits(exit_code, disrupted=disrupted):
                return rule.verdict
        return Verdict.COUNTED


def job_spec(path: Path = JOB) -> JobSpec:
    """Read the manifest."""
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    return JobSpec(
        args=tuple(container["args"]),
        environment={entry["name"]: entry["value"] for entry in container["env"]},
        grace_s=float(pod["terminationGracePeriodSeconds"]),
        backoff_limit=spec["backoffLimit"],
        rules=tuple(_rules(spec["podFailurePolicy"]["rules"])),
    )


def _rules(rules: Sequence[dict[str, Any]]) -> Sequence[Rule]:
    return [
        Rule(
            verdict=_ACTIONS[rule["action"]],
            exit_codes=frozenset(rule.get("onExitCodes", {}).get("values", ())),
            is_in=rule.get("onExitCodes", {}).get("operator", "In") == "In",
            disrupted=any(condition["type"] == _DISRUPTED for condition in rule.get("onPodConditions", ())),
        )
        for rule in rules
    ]
