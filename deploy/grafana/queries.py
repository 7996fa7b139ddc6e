"""How the dashboard asks: PromQL for the runs that are chosen, each run once.

A query takes the greatest of what several processes say of one run: after a restart under another address both are
known for a while, and each of them says the run's figures. Rates are summed instead, as a rate is what a process does.
"""

from deploy.grafana.panels import Query

ANSWERED = "stop|length|tool_calls|function_call|content_filter|refusal|empty|missing|other"
NO_TEXT = "refusal|empty|content_filter|missing"


def select(metric: str, **labels: str) -> str:
    """The series of a metric with these labels. A value is what PromQL writes between name and quotes, if not =, and
    what stands in them: `~a|b` matches a pattern, `!a` is all but a, and `!~a|b` what the pattern does not match."""
    wanted = {"run": "~$run", **labels}
    return f"{metric}{{{', '.join(_matcher(name, value) for name, value in wanted.items())}}}"


def _matcher(name: str, value: str) -> str:
    for prefix, operator in (("!~", "!~"), ("!", "!="), ("~", "=~"), ("", "=")):
        if value.startswith(prefix):
            return f'{name}{operator}"{value.removeprefix(prefix)}"'
    raise AssertionError(value)


def most(metric: str, by: str = "run", **labels: str) -> str:
    """A run's figure, whoever says it."""
    return f"max by ({by}) ({select(metric, **labels)})"


def rate(metric: str, window: str, by: str = "run", **labels: str) -> str:
    """What is added a second, over the window."""
    return f"sum by ({by}) (rate({select(metric, **labels)}[{window}]))"


def quantiles(histogram: str, window: str, *shares: float) -> list[Query]:
    """So many per cent are at most so long."""
    counted = rate(f"{histogram}_bucket", window, by="run, le")
    return [
        Query(expr=f"histogram_quantile({share:g}, {counted})", legend=f"{{{{run}}}} p{100 * share:g}")
        for share in shares
    ]


SPENT = f"sum by (run) ({most('tunemill_cost_usd_total', 'run, kind')})"
PLANNED = f"sum by (run) ({most('tunemill_requests', 'run, state')})"
BUDGET = most("tunemill_budget_usd")
