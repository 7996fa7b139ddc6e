"""The dashboard's queries, as Grafana would ask them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.prometheus_support import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
_RATE_INTERVAL = "5s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query of one panel, without Grafana's variables."""

    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.panel}: {self.expr}"


def panels() -> list[dict[str, Any]]:
    """All that show something."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(run: str) -> Iterator[Asked]:
    """Every query, for one run."""
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"].replace("$run", run).replace("$__rate_interval", _RATE_INTERVAL)
            assert "$" not in expr, expr
            yield Asked(panel=panel["title"], expr=expr)
