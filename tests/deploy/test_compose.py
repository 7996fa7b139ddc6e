"""deploy/compose.yaml and what it mounts: it fits the schema, and its parts find each other."""

import importlib.resources
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.deploy.manifests import DEPLOY, ROOT, documents

from tunemill.cli.token import page_token
from tunemill.local import parse_arguments

COMPOSE, REHEARSAL = DEPLOY / "compose.yaml", DEPLOY / "compose.rehearsal.yaml"
GRACE_SHARE_MAX = 0.5
_PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yaml"


def _compose(path: Path = COMPOSE) -> dict[str, Any]:
    (read,) = documents(path)
    found: dict[str, Any] = read
    return found


@pytest.mark.parametrize("path", [COMPOSE, REHEARSAL], ids=lambda path: path.name)
def test_it_fits_the_compose_specification(path: Path) -> None:
    """The schema is the specification's own."""
    vendor = importlib.resources.files("check_jsonschema.builtin_schemas") / "vendor" / "compose-spec.json"
    schema = json.loads(vendor.read_text(encoding="utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(_compose(path))


def test_every_file_that_is_mounted_is_there() -> None:
    """What is missing on the host would be made by the engine, as an empty folder."""
    mounts = [mount for service in _compose()["services"].values() for mount in service.get("volumes", ())]
    sources = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount).split(":")[0] for mount in mounts]
    files = [source for source in sources if source.startswith(".")]
    assert len(files) >= 5
    assert [source for source in files if not (DEPLOY / source).exists()] == []
    assert {source for source in sources if not source.startswith(".")} == _compose()["volumes"].keys()


def test_the_recipe_that_is_mounted_is_the_one_that_is_run() -> None:
    """Unless told otherwise, it is an example's."""
    service = _compose()["services"]["tunemill"]
    assert service["command"] == ["run", "recipes/recipe.toml"]
    assert (ROOT / "examples" / "movie-plots" / "recipe.toml").is_file()


def test_the_run_has_time_to_drain() -> None:
    """SIGKILL comes long after --grace."""
    service = _compose()["services"]["tunemill"]
    seconds = float(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1])  # type: ignore[index]  # it must fit
    assert float(service["environment"]["TUNEMILL_GRACE"]) <= GRACE_SHARE_MAX * seconds


def test_prometheus_asks_where_the_run_listens_and_grafana_asks_prometheus() -> None:
    """Names and ports agree in all four files."""
    services = _compose()["services"]
    port = services["tunemill"]["environment"]["TUNEMILL_LISTEN"].rpartition(":")[2]
    (prometheus,) = documents(_PROMETHEUS)
    assert prometheus["scrape_configs"][0]["static_configs"] == [{"targets": [f"tunemill:{port}"]}]
    (datasource,) = documents(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")
    assert datasource["datasources"][0]["url"] == "http://prometheus:9090"
    (dashboards,) = documents(DEPLOY / "grafana" / "provisioning" / "dashboards" / "tunemill.yaml")
    folder = dashboards["providers"][0]["options"]["path"]
    assert any(f":{folder}/" in mount for mount in services["grafana"]["volumes"])


def test_nothing_is_published_beyond_this_machine() -> None:
    """Whoever wants others to see it says so; until then every port is loopback's."""
    for path in (COMPOSE, REHEARSAL):
        for service in _compose(path)["services"].values():
            assert [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")] == []


def test_the_run_may_do_nothing_but_write_to_its_volume() -> None:
    """Read-only, without capabilities, and no way to get any: the run, and the simulator in its place."""
    for service in (_compose()["services"]["tunemill"], _compose(REHEARSAL)["services"]["simulator"]):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_rehearsal_sends_to_its_simulator() -> None:
    """Its address is the simulator's service and port."""
    services = _compose(REHEARSAL)["services"]
    assert page_token(services["tunemill"]["environment"], None) is not None
    options = parse_arguments(services["simulator"]["command"][1:])
    assert services["tunemill"]["environment"]["OPENAI_BASE_URL"] == f"http://simulator:{options.port}/v1"
    assert options.host == "0.0.0.0"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """With the alerts beside it, as compose mounts them."""
    for source in (_PROMETHEUS, DEPLOY / "prometheus" / "alerts.yaml"):
        shutil.copy(source, tmp_path)
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / _PROMETHEUS.name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
