"""Our histogram says what Prometheus's own would say of the same observations."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from tunemill.telemetry.metrics.distribution import Distribution
from tunemill.telemetry.metrics.kinds import DescribedHistogram

BUCKETS = (0.5, 1, 2.5, 10)
VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0, 2.5, 2.6, 10.0, 11.0, 1e9]))


def said_by(registry: CollectorRegistry) -> list[str]:
    """The page, but for the moments at which series were made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(VALUES)
def test_without_labels(values: list[float]) -> None:
    """Bounds belong to their buckets, buckets add up, and nothing observed is shown as zeros."""
    described = DescribedHistogram(name="took_seconds", help="How long.", buckets=BUCKETS)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution(described)
    ours.register(distribution)
    histogram = Histogram("took_seconds", "How long.", buckets=BUCKETS, registry=theirs)
    for value in values:
        distribution.observe(value)
        histogram.observe(value)
    assert said_by(ours) == said_by(theirs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.2, 1.0, 3.0]))))
def test_with_labels(seen: list[tuple[str, float]]) -> None:
    """A series for each value that was named."""
    described = DescribedHistogram(name="tokens", help="How many.", labels={"step": "the recipe's"}, buckets=BUCKETS)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution(described)
    ours.register(distribution)
    histogram = Histogram("tokens", "How many.", labelnames=("step",), buckets=BUCKETS, registry=theirs)
    for step, value in seen:
        distribution.observe(value, step)
        histogram.labels(step).observe(value)
    assert said_by(ours) == said_by(theirs)
