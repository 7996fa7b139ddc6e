"""The alerts as an object for the Prometheus operator, made from the rule file:

python -m deploy.prometheus.operator_rules > deploy/kubernetes/components/pod-monitor/prometheusrule.yaml
"""

import sys
from pathlib import Path
from textwrap import indent

RULES = Path(__file__).with_name("alerts.yaml")
_HEAD = """\
# Made from deploy/prometheus/alerts.yaml: make deploy-files writes it anew.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tunemill
spec:
"""


def rule_object() -> str:
    """The whole file."""
    _, groups = RULES.read_text(encoding="utf-8").split("groups:\n", 1)
    return _HEAD + indent("groups:\n" + groups, "  ")


if __name__ == "__main__":
    sys.stdout.write(rule_object())
