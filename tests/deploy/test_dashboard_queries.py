"""A real Prometheus scrapes a real run: every query of the dashboard has something to show, and every alert something
to go by."""

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.dashboard_support import Asked, queries
from tests.deploy.prometheus_support import DEADLINE_S, Prometheus, alert_rules, hastened, needs_prometheus
from tests.support.ports import free_port
from tests.support.running import grid_recipe, started
from tests.support.simulator import Simulator

# Within limits, with a budget that will not do, and with some of everything that may go wrong.
MORE = """\
[limits]
requests_per_minute = 1800
tokens_per_minute = 2_000_000
concurrency = 64
attempts_max = 2
[budget]
usd = 0.2
"""
FAULTS = {"server_error": 0.3, "rate_limit_retry_after": 0.02, "length": 0.1, "refusal": 0.05}


_SELECTED = re.compile(r"tunemill_[a-z_]+(?:\{[^}]*\})?")


@needs_prometheus
def test_every_query_of_the_dashboard_and_of_the_alerts_has_data(tmp_path: Path) -> None:
    """While the run works: no panel is empty, and none shows what is not a number."""
    recipe = grid_recipe(tmp_path / "recipe.toml", rows=50_000, more=MORE)
    port = free_port()
    faults = [argument for kind, rate in FAULTS.items() for argument in ("--fault", f"{kind}={rate}")]
    flags = ("run", recipe, "--run-dir", "r", "--until", "generate", "--listen", f"127.0.0.1:{port}")
    with (
        Simulator("--latency-s", "0.2", *faults) as server,
        Prometheus(tmp_path / "prometheus", ports=[port], rules=hastened(60)) as prometheus,
        started(*flags, base_url=server.base_url, cwd=tmp_path) as process,
    ):
        without = [*queries("acceptance"), *_asked_by_alerts()]
        deadline = time.monotonic() + DEADLINE_S
        while without:
            assert process.poll() is None, "the run ended before all could be asked"
            assert time.monotonic() < deadline, "\n".join(map(str, without))
            time.sleep(0.5)
            without = [asked for asked in without if not _has_data(prometheus, asked)]


def _asked_by_alerts() -> Iterator[Asked]:
    """What the alerts select: whether it fires is another question than whether there is something to judge."""
    for rule in alert_rules():
        for selected in sorted(set(_SELECTED.findall(rule["expr"]))):
            yield Asked(panel=rule["alert"], expr=selected)


def _has_data(prometheus: Prometheus, asked: Asked) -> bool:
    values = [value for _, value in prometheus.values(asked.expr)]
    return bool(values) and all(math.isfinite(value) for value in values)
