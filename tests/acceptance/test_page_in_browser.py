"""The run's page and the dataset's report in a real browser, while models say whatever could do harm."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import chromium, watched
from tests.support.ports import free_port
from tests.support.running import DEADLINE_S, command, environment, grid_recipe
from tests.support.simulator import Simulator

ROWS = 24
LOG = "log.jsonl"
TOKEN = "correct-horse-battery"
LONG = 1_000_000
MARKUP = (
    "<script>window.pwned = 1; alert(1)</script><img src=x onerror='window.pwned=2'><svg onload=window.pwned=3>"
    "<a href='javascript:window.pwned=4' id=trap>click</a><iframe srcdoc='<script>parent.pwned=5</script>'></iframe>"
    '</script></div></bdi></html>"}\n\ndata: {"run": "forged"}\n\n'
    "{{ 7*7 }} ${window.pwned=6} <style>*{display:none}</style>"
)
HIDDEN = "\x1b[31m\x1b]0;title\x07 \x00\x9b2J txt.\u202egnp.exe \u2066a\u2069 \u200b line\u2028end \r over \U000e0041"
SHOWN = (
    "⟨U+001B⟩[31m⟨U+001B⟩]0;title⟨U+0007⟩ ⟨U+0000⟩⟨U+009B⟩2J txt.⟨U+202E⟩gnp.exe ⟨U+2066⟩a⟨U+2069⟩ ⟨U+200B⟩ "
    "line⟨U+2028⟩end ⟨U+000D⟩ over ⟨U+E0041⟩"
)
MORE = f"""\
[limits]
concurrency = 1
[budget]
usd = 1000
[clean]
max_chars = {2 * LONG}
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 3
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests of this module."""
    with chromium() as launched:
        yield launched


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way with its page, which asks for a token."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path


@pytest.fixture(scope="module")
def hostile_run(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Answered with hostile texts alone; the job that it watches afterwards holds it while we look."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(text) + "\n" for text in (MARKUP, HIDDEN, "x" * LONG)), encoding="utf-8")
    recipe = grid_recipe(folder / "recipe.toml", rows=ROWS, max_tokens=LONG, more=MORE)
    port = free_port()
    flags = ("run", recipe, "--run-dir", "r", "--listen", f"127.0.0.1:{port}", "--log-level", "debug")
    log = (folder / LOG).open("wb")
    with log, Simulator("--latency-s", "0.3", "--job-running-s", "300", "--texts", str(texts)) as server:
        process = subprocess.Popen(
            command(*flags),
            cwd=folder,
            env=environment(server.base_url, TUNEMILL_TOKEN=TOKEN),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            run = Run(process, f"http://127.0.0.1:{port}/", folder / "r")
            _wait_until_it_listens(run)
            yield run
        finally:
            process.kill()
            process.wait()


def _wait_until_it_listens(run: Run) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            urllib.request.urlopen(f"{run.url}healthz", timeout=30).close()
            return
        except OSError:
            assert run.process.poll() is None, "the run has ended"
            assert time.monotonic() < deadline, "the run does not listen"
            time.sleep(0.05)


def _enter(page: Any, run: Run) -> None:
    """With the token in the address, by a link on another site, as from a chat."""
    page.goto(f"data:text/html,<a id=go href='{run.url}?token={TOKEN}'>go</a>")
    page.click("#go")
    page.wait_for_url(run.url)
    page.wait_for_selector("body.is-live")


def _is_wider_than_its_window(page: Any) -> bool:
    wide: bool = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return wide


def _paper(page: Any) -> Any:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_page_shows_hostile_answers_as_text_while_they_arrive(browser: Any, hostile_run: Run) -> None:
    """A link with the token from another site opens it; it lives; nothing in it runs, and everything can be read."""
    with watched(browser) as seen:
        page = seen.page
        _enter(page, hostile_run)
        assert page.url == hostile_run.url
        early = page.inner_text("#of")
        page.locator("#of").filter(has_not_text=early).wait_for()
        page.locator("#percent").filter(has_text="100 %").wait_for()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.wait_for_selector("details .whole")
        texts = set(
            page.eval_on_selector_all("details .text:nth-of-type(2)", "all => all.map((each) => each.textContent)")
        )
        assert MARKUP in texts
        assert SHOWN in texts
        assert "x" * 6_000 in texts
        prompts = page.eval_on_selector_all(
            "details .text:nth-of-type(1)", "all => all.map((each) => each.textContent)"
        )
        assert prompts
        assert all("About" in prompt for prompt in prompts)
        assert "994,000 more characters" in page.inner_text("#answers")
        assert page.locator("#answers :is(script, img, svg, a, iframe, style, #trap)").count() == 0
        assert page.inner_text("#run") == "acceptance"
        assert not _is_wider_than_its_window(page)
        seen.check()


def test_the_page_fits_a_phone_and_the_dark(browser: Any, hostile_run: Run) -> None:
    """At 360 pixels nothing has to be pushed sideways, with long lines and answers open; the dark is dark."""
    with watched(browser, dark=True, width=360) as seen:
        _enter(seen.page, hostile_run)
        seen.page.wait_for_selector("details")
        seen.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert not _is_wider_than_its_window(seen.page)
        assert _paper(seen.page) == "rgb(19, 20, 22)"
        seen.page.emulate_media(color_scheme="light")
        assert _paper(seen.page) == "rgb(250, 248, 244)"
        assert not _is_wider_than_its_window(seen.page)
        seen.check()


def test_the_page_is_closed_without_the_token(browser: Any, hostile_run: Run) -> None:
    """What it says instead says how to open it."""
    with watched(browser) as seen:
        _enter(seen.page, hostile_run)  # that it is there
    with watched(browser) as seen:
        reply = seen.page.goto(hostile_run.url)
        assert reply.status == 401
        assert "?token=TOKEN" in seen.page.inner_text("body")


def test_the_report_shows_hostile_answers_as_text(browser: Any, hostile_run: Run) -> None:
    """It is a file that people open and pass on: it runs and loads nothing, whatever its examples say."""
    report = hostile_run.folder / "report.html"
    deadline = time.monotonic() + DEADLINE_S
    while not report.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with watched(browser, width=360) as seen:
        seen.page.goto(report.as_uri())
        shown = seen.page.inner_text("body")
        assert "<script>window.pwned = 1; alert(1)</script><img src=x" in shown
        assert "txt.⟨U+202E⟩gnp.exe" in shown
        assert seen.page.locator(":is(script, img, a, iframe, #trap)").count() == 0
        assert not _is_wider_than_its_window(seen.page)
        seen.check()


@pytest.mark.torture
def test_the_token_is_written_down_nowhere(browser: Any, hostile_run: Run) -> None:
    """Neither in the log, which says where the page is, nor in the run folder."""
    with watched(browser) as seen:
        _enter(seen.page, hostile_run)
    log = (hostile_run.folder.parent / LOG).read_text("utf-8")
    assert f'"page":"{hostile_run.url}?token=..."' in log
    files = [path for path in hostile_run.folder.parent.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if TOKEN.encode() in _content(path)] == []


def _content(path: Path) -> bytes:
    """Nothing where the run, which is at work, has put the file in its place by now."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@pytest.mark.torture
def test_the_last_picture_stays_when_the_process_is_gone(browser: Any, hostile_run: Run) -> None:
    """It says so, and keeps what it has. The last test of the module: it ends the run."""
    with watched(browser) as seen:
        _enter(seen.page, hostile_run)
        seen.page.locator("#percent").filter(has_text="100 %").wait_for()
        hostile_run.process.kill()
        seen.page.wait_for_selector("#lost:not([hidden])")
        assert "Connection lost, trying again" in seen.page.inner_text("#lost")
        assert seen.page.inner_text("#percent") == "100 %"
        assert seen.page.inner_text("#state").lower() == "last seen running"  # and not that all is well
        assert seen.page.evaluate("window.pwned") is None
