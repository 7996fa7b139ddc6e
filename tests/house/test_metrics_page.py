"""The page on metrics is what the code says of them."""

from tests.house.house_support import ROOT

from tunemill.telemetry.metrics.kinds import Kind
from tunemill.telemetry.metrics.table import HISTOGRAMS, METRICS
from tunemill.telemetry.metrics.table_page import page


def test_the_page_is_what_the_code_gives() -> None:
    """`make deploy-files` writes it anew."""
    assert (ROOT / "deploy" / "METRICS.md").read_text(encoding="utf-8") == page()


def test_names_and_types_go_together() -> None:
    """By the naming guide: _total is a counter, _info an info, times are seconds, a moment is a timestamp."""
    for described in METRICS:
        assert described.name.startswith("tunemill_")
        assert described.name.endswith("_total") == (described.kind is Kind.COUNTER), described.name
        assert described.name.endswith("_info") == (described.kind is Kind.INFO), described.name
        assert ("seconds since the epoch" in described.help) == described.name.endswith("_timestamp_seconds")
    for histogram in HISTOGRAMS:
        assert histogram.name.endswith(("_seconds", "_tokens"))
    names = [described.name for described in METRICS] + [histogram.name for histogram in HISTOGRAMS]
    assert len(set(names)) == len(names)
