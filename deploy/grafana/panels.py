"""The pieces of a Grafana dashboard as values: panels with their queries, laid out one after the other.

Knows the JSON that Grafana 11 and newer read, and nothing of what is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Step: TypeAlias = tuple[float | None, str]  # from this value on (None: from below) this colour

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression. `legend` names its series; `style` is what the series of this query alone look like."""

    expr: str
    legend: str = "{{run}}"
    style: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `about` says which question it answers; width and height are in Grafana's grid of 24 columns."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    steps: Sequence[Step] = ((None, "green"),)
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    mappings: Sequence[Json] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading, and what stands below it."""

    title: str
    panels: Sequence[Panel]


LINE: Mapping[str, Any] = {"lineWidth": 2, "fillOpacity": 0, "stacking": {"mode": "none", "group": "A"}}
DASHED: Mapping[str, Any] = {**LINE, "lineStyle": {"fill": "dash", "dash": [10, 10]}}
STACKED: Mapping[str, Any] = {"lineWidth": 1, "fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
SHARES: Mapping[str, Any] = {"lineWidth": 1, "fillOpacity": 60, "stacking": {"mode": "percent", "group": "A"}}


def stat(title: str, about: str, unit: str, expr: str, *, legend: str = "{{run}}", **more: Any) -> Panel:
    """One figure for each run, large."""
    query = Query(expr=expr, legend=legend)
    size: Json = {"kind": "stat", "width": 3, "height": 5}
    return Panel(title=title, about=about, unit=unit, queries=[query], **{**size, **more})


def value_mappings(values: Mapping[str, tuple[str, str]]) -> list[Json]:
    """What a number is called, and its colour."""
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(values.items())
    }
    return [{"type": "value", "options": options}]


def laid_out(rows: Iterable[Row]) -> list[Json]:
    """All panels with their places: from left to right, and down where a line is full."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(_heading(row.title, len(panels) + 1, y))
        x, y, line_height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            panels.append(_panel(panel, len(panels) + 1, x, y))
            x, line_height = x + panel.width, max(line_height, panel.height)
        y += line_height
    return panels


def _heading(title: str, number: int, y: int) -> Json:
    place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, x: int, y: int) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel.queries))},
        "options": {**_OPTIONS[panel.kind], **panel.options},
        "targets": [_target(query, _ref(number)) for number, query in enumerate(panel.queries)],
    }


def _defaults(panel: Panel) -> Json:
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    return {
        "unit": panel.unit,
        "color": {"mode": _COLORS[panel.kind]},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": list(panel.mappings),
        "custom": {**_CUSTOM[panel.kind], **panel.custom},
        **panel.defaults,
    }


def _target(query: Query, ref: str) -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": True,
    }


def _overrides(queries: Sequence[Query]) -> Iterable[Json]:
    for number, query in enumerate(queries):
        properties = [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": value}}
            if key == "color"
            else {"id": f"custom.{key}", "value": value}
            for key, value in query.style.items()
        ]
        if properties:
            yield {"matcher": {"id": "byFrameRefID", "options": _ref(number)}, "properties": properties}


def _ref(number: int) -> str:
    return chr(ord("A") + number)


_COLORS = {
    "timeseries": "palette-classic",
    "stat": "thresholds",
    "gauge": "thresholds",
    "bargauge": "thresholds",
    "state-timeline": "thresholds",
}
_CUSTOM: dict[str, Json] = {
    "timeseries": {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "showPoints": "never",
        "spanNulls": False,
        "axisSoftMin": 0,
        "thresholdsStyle": {"mode": "off"},
        "scaleDistribution": {"type": "linear"},
        "hideFrom": {"tooltip": False, "viz": False, "legend": False},
        **LINE,
        "fillOpacity": 10,
    },
    "stat": {},
    "gauge": {},
    "bargauge": {},
    "state-timeline": {
        "fillOpacity": 80,
        "lineWidth": 0,
        "hideFrom": {"tooltip": False, "viz": False, "legend": False},
    },
}
_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "tooltip": {"mode": "multi", "sort": "desc"},
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    },
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
    },
    "gauge": {
        "reduceOptions": _LAST,
        "orientation": "auto",
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "minVizWidth": 75,
        "minVizHeight": 75,
        "sizing": "auto",
    },
    "bargauge": {
        "reduceOptions": _LAST,
        "orientation": "horizontal",
        "displayMode": "basic",
        "valueMode": "color",
        "namePlacement": "left",
        "showUnfilled": True,
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 40,
        "sizing": "auto",
    },
    "state-timeline": {
        "alignValue": "left",
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
    },
}
