"""The benchmark can be started: its parts are there, and its command explains itself. Measuring is `make bench`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench import report, running
from bench.__main__ import NAMES, part_of
from bench.frame import Figure, Part, Peer, at_least, at_most, one
from tests.house.house_support import ROOT


@pytest.mark.parametrize("name", NAMES)
def test_each_part_says_what_it_measures(name: str) -> None:
    """A part has a title and a sentence for the report."""
    part = part_of(name)
    assert part.title
    assert part.about.endswith(".")


def test_the_command_names_every_part() -> None:
    """`python -m bench --help` works and says what can be measured."""
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert [name for name in NAMES if name not in shown.stdout] == []


def test_the_results_are_what_was_measured() -> None:
    """RESULTS.md is rendered from results.json and nothing else; nobody has mended a figure by hand."""
    page = (ROOT / "bench" / report.RESULTS).read_text(encoding="utf-8")
    assert page == report.markdown(report.stored())


def test_a_part_that_is_measured_again_replaces_itself_alone(tmp_path: Path) -> None:
    """The other parts keep their figures, dates and versions, and the order stays."""
    first = [_section(name, one("speed", 1.0, "x")) for name in NAMES[:2]]
    report.keep(first, NAMES, tmp_path)
    again = _section(NAMES[0], one("speed", 2.0, "x"))
    report.keep([again], NAMES, tmp_path)
    assert report.stored(tmp_path) == [again, first[1]]
    assert (tmp_path / report.RESULTS).read_text(encoding="utf-8") == report.markdown([again, first[1]])


def test_what_falls_short_is_said_first() -> None:
    """A figure beyond its limit is named at the top of the page, with its limit, and marked in its table."""
    figures = [one("speed", 1.0, "x", at_least(2)), one("memory", 10.0, "MiB", at_most(10)), one("size", 1.0, "m")]
    page = report.markdown([_section("some", *figures)])
    assert "1 of 2 limits hold." in page
    assert "- some: speed: 1 x, at least 2\n" in page.split("## ")[0]
    assert "| speed | 1 x | at least 2 | **short** |  |" in page
    assert "| memory | 10 MiB | at most 10 | holds |  |" in page


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """One round that was disturbed does not decide, for ourselves or for a peer, and the span is shown."""
    figure = Figure(
        name="rate", unit="r/s", values=(1, 90, 100), limit=at_least(90), peer=Peer(name="p", values=(7, 5))
    )
    assert (figure.measured, figure.holds) == (90, True)
    assert report.line(report.row(figure)) == "rate: 90 r/s (1 to 100)  (at least 90, p: 6)  holds"


def test_a_figure_without_a_value_is_refused() -> None:
    """A part that measured nothing is a mistake of the part, and no empty cell."""
    with pytest.raises(ValueError, match="has no values"):
        Figure(name="rate", unit="r/s", values=())


def test_a_process_is_measured_whole(tmp_path: Path) -> None:
    """What it says is kept, its time is at least what it slept, and an exit code that nobody expects is a failure."""
    usage = running.measured([sys.executable, "-c", "import time; time.sleep(0.2); print('done')"], said=tmp_path / "a")
    assert (usage.stdout, usage.exit_code) == ("done\n", 0)
    assert usage.seconds >= 0.2
    assert usage.max_rss_mib > 1
    with pytest.raises(running.ProcessFailed, match="ended with 3 and said: alas"):
        running.measured(["sh", "-c", "echo alas >&2; exit 3"], said=tmp_path / "b")


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """It is reported as a failure, and nothing stays behind."""
    with running.started([sys.executable, "-c", "import time; time.sleep(3600)"], said=tmp_path / "said") as process:
        assert not process.ended
        with pytest.raises(running.ProcessFailed, match="still runs"):
            process.wait(deadline_s=0.01)
    assert process.usage is not None
    assert process.usage.exit_code == -signal.SIGKILL


def _section(name: str, *figures: Figure) -> report.Section:
    part = Part(title=name, about="What is done.", measure=lambda _: iter(figures))
    return report.section(name, part, figures, seconds=1.0, form="full")
