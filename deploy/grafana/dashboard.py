"""The dashboard of a run, as Grafana reads it. Written to dashboard.json, which is what is provisioned:

python -m deploy.grafana.dashboard > deploy/grafana/dashboard.json
"""

import json
import sys

from deploy.grafana.health import HEALTH, QUALITY
from deploy.grafana.panels import (
    DASHED,
    DATASOURCE,
    LINE,
    STACKED,
    Json,
    Panel,
    Query,
    Row,
    laid_out,
    stat,
    value_mappings,
)
from deploy.grafana.progress import LIMITS, PROGRESS, STATE, STATE_WORDS
from deploy.grafana.queries import BUDGET, PLANNED, SPENT, most, rate, select

GLANCE = Row(
    title="Is it all right?",
    panels=[
        stat(
            "State",
            "What the run is doing, or how it ended.",
            "none",
            STATE,
            width=4,
            mappings=STATE_WORDS,
            steps=((None, "text"),),
        ),
        stat(
            "Done",
            "How much of what is planned is answered or failed for good?",
            "percentunit",
            f"sum by (run) ({most('tunemill_requests', 'run, state', state='~completed|failed')}) / {PLANNED}",
            steps=((None, "blue"), (1, "green")),
            defaults={"min": 0, "max": 1, "decimals": 1},
        ),
        stat(
            "Time left",
            "When will it be done, if it goes on as it did? Empty until that is known, and when all is done.",
            "s",
            most("tunemill_eta_seconds"),
            steps=((None, "blue"),),
        ),
        stat(
            "Since the last answer",
            "Is it stuck? A run at work that has had no answer for ten minutes raises an alert.",
            "s",
            f"time() - {most('tunemill_last_answer_timestamp_seconds')}",
            steps=((None, "green"), (120, "yellow"), (600, "red")),
        ),
        stat(
            "Failed for good",
            "How many requests were given up? They are in failed.jsonl, with the reason.",
            "short",
            most("tunemill_requests", state="failed"),
            steps=((None, "green"), (1, "orange")),
        ),
        Panel(
            title="Budget",
            about="How much of the budget is spent, uncertain or reserved? It cannot pass 100 %.",
            unit="percentunit",
            queries=[Query(expr=f"({SPENT} + {most('tunemill_reserved_usd')}) / {BUDGET}")],
            kind="gauge",
            width=4,
            height=5,
            steps=((None, "green"), (0.8, "orange"), (1, "red")),
            defaults={"min": 0, "max": 1, "decimals": 1},
        ),
        stat(
            "Alerts",
            "Does anything want somebody? What to do about each stands in deploy/ALERTS.md.",
            "short",
            f"count({select('ALERTS', alertname='~Tunemill.*', alertstate='firing')}) or vector(0)",
            legend="firing",
            width=4,
            steps=((None, "green"), (1, "red")),
        ),
    ],
)

MONEY = Row(
    title="Money",
    panels=[
        Panel(
            title="Dollars against the budget",
            about="What is spent for certain, what may have been billed unseen (uncertain, at its worst case), what "
            "is reserved for what is in flight, stacked; where it will end; and the budget, which the stack never "
            "passes.",
            unit="currencyUSD",
            queries=[
                Query(
                    expr=most("tunemill_cost_usd_total", kind="settled"),
                    legend="{{run}} spent",
                    style={**STACKED, "color": "green"},
                ),
                Query(
                    expr=most("tunemill_cost_usd_total", kind="uncertain"),
                    legend="{{run}} uncertain",
                    style={**STACKED, "color": "orange"},
                ),
                Query(
                    expr=most("tunemill_reserved_usd"),
                    legend="{{run}} reserved",
                    style={**STACKED, "color": "blue"},
                ),
                Query(
                    expr=most("tunemill_forecast_usd"),
                    legend="{{run}} forecast",
                    style={**DASHED, "color": "purple"},
                ),
                Query(expr=BUDGET, legend="{{run}} budget", style={**LINE, "color": "red"}),
            ],
            width=12,
            height=9,
        ),
        Panel(
            title="Dollars per hour",
            about="How fast is money spent, over the last 15 minutes? Uncertain dollars go for answers that nobody "
            "saw: timeouts and cut connections.",
            unit="currencyUSD",
            queries=[
                Query(
                    expr=f"3600 * {rate('tunemill_cost_usd_total', '15m', 'run, kind')}",
                    legend="{{run}} {{kind}}",
                )
            ],
            width=6,
            height=9,
            custom=STACKED,
        ),
        stat(
            "Rows that will not fit",
            "For how many rows will the budget not do, by the forecast?",
            "short",
            most("tunemill_rows_beyond_budget"),
            steps=((None, "green"), (1, "orange")),
            width=6,
            height=3,
        ),
        stat(
            "Forecast",
            "What will the whole run have cost, training included?",
            "currencyUSD",
            most("tunemill_forecast_usd"),
            steps=((None, "blue"),),
            width=6,
            height=3,
        ),
        stat(
            "A thousand answers",
            "What do a thousand answers cost, so far?",
            "currencyUSD",
            f"1000 * {most('tunemill_cost_usd_total', kind='settled')}"
            f" / ({most('tunemill_requests', state='completed')} > 0)",
            steps=((None, "blue"),),
            width=3,
            height=3,
        ),
        stat(
            "Real or simulated",
            "Are these dollars only what it would have cost?",
            "none",
            f"{most('tunemill_run_info', simulated='true')} or 0 * {most('tunemill_run_info')}",
            mappings=value_mappings({"0": ("real", "text"), "1": ("simulated", "purple")}),
            steps=((None, "text"),),
            width=3,
            height=3,
        ),
    ],
)


def dashboard() -> Json:
    """All of it."""
    return {
        "uid": "tunemill-run",
        "title": "tunemill: a run",
        "description": "What a run spends, how far it is, what it waits for, and whether it is well.",
        "tags": ["tunemill"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "15s",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), _runs()]},
        "panels": laid_out([GLANCE, MONEY, PROGRESS, LIMITS, QUALITY, HEALTH]),
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
    }


def _runs() -> Json:
    query = "label_values(tunemill_run_info, run)"
    return {
        "name": "run",
        "label": "Run",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "runs"},
        "current": {"text": ["All"], "value": ["$__all"]},
        "allValue": ".+",
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dashboard(), indent=2) + "\n")
