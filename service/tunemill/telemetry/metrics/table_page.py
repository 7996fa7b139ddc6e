"""The page that describes the metrics, made from the table that the metrics themselves are made from.

python -m tunemill.telemetry.metrics.table_page > deploy/METRICS.md
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

from tunemill.telemetry.metrics.kinds import Described, DescribedHistogram, Since
from tunemill.telemetry.metrics.table import HISTOGRAMS, METRICS

_HEAD = """\
# Metrics

What `/metrics` shows, for Prometheus. This page is made from the code: `make deploy-files` writes it anew.

Every series has the label `run`, the name of the recipe. What the column "covers" calls *run* is counted over all
processes that ever worked on the run, because it is read from the journal: after a restart a counter goes on where it
was, also under another address. *process* is what this process saw, *now* is this moment. Give recipes that run at the
same time names of their own: runs of one name are one run here.

A series that may come is there from the start, at 0. What is not known has no sample: without a budget there is no
`tunemill_budget_usd`, and no forecast before something is known of prices. Label values are from closed sets; whatever
else a provider makes up is counted as `other`.

`tunemill_limit` and `tunemill_limit_used` are by the minute, as providers and recipes have it, and not by the second:
compare the two kind by kind. A sum over kinds means nothing.

| metric | type | covers | what it says |
|---|---|---|---|
"""
_BETWEEN = """
## Labels

| metric | label | values |
|---|---|---|
"""
_PROCESS = """
## The process

Where there is /proc, the standard metrics of the Prometheus client library are there too:
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`,
`process_max_fds` and `process_start_time_seconds`. They are of the process that decides; `--processes` has others
beside it.

## Runs that end before they are scraped

A run is gone with its `/metrics`. It can stay for a few scrapes, until a signal comes; its folder is free meanwhile,
and its exit code is what it would have been:

```sh
tunemill run examples/movie-plots/recipe.toml --listen 127.0.0.1:9400 --linger 90
```

Or it pushes, every 15 seconds and at its end: to a Pushgateway, into the group of its name (scrape that with
`honor_labels: true`, and delete the group when you are done with the run),

```sh
tunemill run examples/movie-plots/recipe.toml --push-gateway http://pushgateway:9091
```

or by OTLP over HTTP, with `pip install 'tunemill[otlp]'`. Where to, and with which headers, is said by the standard
variables; counters are called what they are called above, without `_total`:

```sh
OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 tunemill run examples/movie-plots/recipe.toml --otlp
```

A push that fails is a line in the log. It never holds up the run, nor its end by more than ten seconds.
"""
_COVERS = {
    Since.RUN: "run",
    Since.PROCESS: "process",
    Since.NOW: "now",
}


def page() -> str:
    """The whole page."""
    lines = [_HEAD, *map(_metric, METRICS), *map(_histogram, HISTOGRAMS), _BETWEEN]
    described: tuple[Described | DescribedHistogram, ...] = (*METRICS, *HISTOGRAMS)
    for each in described:
        lines.extend(_labels(each.name, each.labels))
    return "".join([*lines, _PROCESS])


def _metric(described: Described) -> str:
    return f"| `{described.name}` | {described.kind.value} | {_COVERS[described.since]} | {described.help} |\n"


def _histogram(described: DescribedHistogram) -> str:
    first, last = described.buckets[0], described.buckets[-1]
    said = f"{described.help} {len(described.buckets)} buckets, {first:g} to {last:g}."
    return f"| `{described.name}` | histogram | process | {said} |\n"


def _labels(name: str, labels: Mapping[str, Sequence[str] | str]) -> Iterator[str]:
    for label, values in labels.items():
        words = values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
        yield f"| `{name}` | `{label}` | {words} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
