"""The dashboard's JSON is what its script gives, and what Grafana asks of a dashboard."""

import json
import re
from typing import Any

import pytest
from deploy.grafana.dashboard import dashboard
from deploy.grafana.progress import STATES
from deploy.grafana.queries import ANSWERED as ANSWERED_PATTERN
from deploy.grafana.queries import NO_TEXT
from tests.deploy.dashboard_support import DASHBOARD, panels, queries

from tunemill.model import RunState
from tunemill.telemetry.metrics.table import ANSWERED, HISTOGRAMS, METRICS

PANELS = panels()
COLUMNS = 24
_NAME = re.compile(r"\b(?:tunemill|process)_[a-z_]+\b")
_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"}


def test_the_json_is_what_the_script_gives() -> None:
    """`make deploy-files` writes it."""
    assert json.loads(DASHBOARD.read_text(encoding="utf-8")) == dashboard()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_its_unit_and_which_question_it_answers(panel: dict[str, Any]) -> None:
    """In one look: a title, a unit, a question in the description, and thresholds that begin at the bottom."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert defaults["unit"]
    assert panel["description"].endswith((".", "?"))
    assert defaults["thresholds"]["steps"][0]["value"] is None
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    """Each has a number of its own, and a place of its own within the 24 columns."""
    every = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_query_asks_for_metrics_that_there_are() -> None:
    """A name that is mistyped, or was changed, would be an empty panel."""
    known = {described.name for described in METRICS} | _PROCESS
    known |= {f"{described.name}_{part}" for described in HISTOGRAMS for part in ("bucket", "count", "sum")}
    asked = {name for query in queries("r") for name in _NAME.findall(query.expr)}
    assert asked <= known
    assert {described.name for described in METRICS} - asked <= {"tunemill_build_info", "tunemill_tokens_total"}


def test_the_patterns_are_the_outcomes_of_the_code() -> None:
    """What is an answer, what is one without text, and which states there are."""
    assert set(ANSWERED_PATTERN.split("|")) == set(ANSWERED)
    assert set(NO_TEXT.split("|")) < set(ANSWERED)
    assert set(STATES) == {state.value for state in RunState}


def test_the_source_and_the_runs_are_chosen_on_the_dashboard() -> None:
    """No panel is bound to somebody's own Prometheus, and many runs can be looked at together."""
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert set(variables) == {"datasource", "run"}
    assert variables["run"]["multi"]
    assert variables["run"]["includeAll"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
