"""report.json adds up, and report.html shows untrusted text without harm."""

import re
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from tests.dataset.dataset_support import built, candidate_of, facts_of, judging_of, spec_of, statistics_of

from tunemill.dataset import BuildResult, RunFacts, build, read_report
from tunemill.dataset.page import dollars, percent
from tunemill.model import Candidate, FailureKind, picodollars
from tunemill.recipe.sections import ChatTrain, CleanSection

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp.exe \x1b[31m\x00 </div></bdi> {{ 7*7 }} قصة"
FACTS = facts_of(
    completed=40,
    failures={FailureKind.TIMEOUT: 3, FailureKind.BAD_REQUEST: 1},
    simulated=True,
    settled=picodollars(0.25),
)


class Page(HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""


def candidates() -> list[Candidate]:
    texts = [f"A story about rain, number {number}. " + "word " * number for number in range(40)]
    texts[3:6] = ["", "x", EVIL + " and more of the same, so that it is kept"]
    return [candidate_of(text, position=position) for position, text in enumerate(texts)]


def reported(folder: Path, recipe: str = "stories", evil: bool = False) -> BuildResult:
    rows = [candidate_of(EVIL, position=number) for number in range(3)] if evil else candidates()
    spec = spec_of(ChatTrain(user="{{ topic }}", assistant="{{ story }}", validation_fraction=0.2), recipe=recipe)
    spec = spec_of(spec.train, CleanSection(min_chars=5), recipe=recipe)
    return build(judging_of(rows, spec), folder, spec=spec, facts=FACTS, monotonic=lambda: 0.0)


def test_the_report_adds_up(tmp_path: Path) -> None:
    """Every sum that the report promises holds in the file itself."""
    reported(tmp_path)
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    funnel = report["funnel"]
    assert funnel["requests_planned"] == 44 == funnel["requests_completed"] + funnel["requests_failed"]
    assert funnel["candidates"] == 40 == funnel["kept"] + funnel["rejected"]
    assert funnel["kept"] == funnel["train"] + funnel["validation"] == report["lengths"]["count"]
    assert sum(report["rejected_by_rule"].values()) == funnel["rejected"]
    assert sum(report["failed_by_kind"].values()) == funnel["requests_failed"]
    assert sum(one["count"] for one in report["lengths"]["histogram"]) == funnel["kept"]
    assert report["rejected_by_rule"] == {"empty": 1, "too_short": 1}
    assert report["finish_reasons"] == {"story": {"stop": 40}}
    assert (report["simulated"], report["usd"]["settled"]) == (True, 0.25)


def test_the_shape_of_the_report_is_fixed(tmp_path: Path) -> None:
    """Programs read these keys."""
    reported(tmp_path)
    report = read_report(tmp_path)
    assert list(report) == [
        "shape", "recipe", "format", "fingerprint", "simulated", "funnel", "rejected_by_rule", "failed_by_kind", "usd",
        "tokens", "lengths", "finish_reasons", "examples", "rejects", "files",
    ]  # fmt: skip
    assert report["shape"] == 1


def test_ten_examples_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    """By a hash, so that a second build shows the same ones."""
    first = reported(tmp_path).figures.examples
    assert len(first) == 10
    assert reported(tmp_path).figures.examples == first


def test_facts_that_do_not_add_up_are_a_bug() -> None:
    """A report is never written over sums that are wrong."""
    with pytest.raises(AssertionError, match="failures add up"):
        RunFacts(statistics=statistics_of(completed=3, failed=2), failures={FailureKind.TIMEOUT: 1})


@pytest.mark.parametrize("evil", [False, True])
def test_the_page_runs_and_loads_nothing(tmp_path: Path, evil: bool) -> None:
    """No script, no handler, no link and no image, whatever the completions say; and a policy that forbids them."""
    reported(tmp_path, evil=evil)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "link", "a", "form", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    assert "http" not in {name for name, _ in page.attributes}


def test_the_page_shows_hidden_characters_by_name(tmp_path: Path) -> None:
    """Control characters and marks of direction cannot hide or turn a line around."""
    reported(tmp_path, evil=True)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "⟨U+202E⟩gnp.exe" in text
    assert "⟨U+001B⟩[31m⟨U+0000⟩" in text
    assert "قصة" in text
    assert "{{ 7*7 }}" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", text)


def test_the_page_marks_simulated_dollars(tmp_path: Path) -> None:
    """Beside the dollars and in the first sentence."""
    reported(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert '<span class="badge">simulated</span>' in text
    assert "$0.25" in text


def test_the_page_of_nothing_says_so(tmp_path: Path) -> None:
    """A build that kept nothing still explains itself."""
    built([], tmp_path)
    assert "No example was kept" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0.00"),
        (1.0374, "$1.04"),
        (1234.5, "$1,234.50"),
        (0.25, "$0.25"),
        (0.0021, "$0.0021"),
        (0.5678, "$0.5678"),
    ],
)
def test_dollars_have_the_places_that_they_need(amount: float, text: str) -> None:
    """Cents from a dollar on, more below."""
    assert dollars(picodollars(amount)) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0 %"), (9, 9, "100 %"), (1, 100_000, "0.1 %"), (99_999, 100_000, "99.9 %"), (0, 0, "–"), (1, 4, "25.0 %")],
)
def test_shares_never_round_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    """One reject in a hundred thousand is not 0 %."""
    assert percent(part, whole) == text
