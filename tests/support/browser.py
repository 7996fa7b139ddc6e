"""A headless Chromium that notes whatever a page should not do: dialogs, errors, violations of its policy."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
_NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@dataclass  # without slots: playwright keeps notes on whoever listens to it
class Watched:
    """A page in a browser context of its own, and what it did that it should not."""

    page: Any
    wrongs: list[str] = field(default_factory=list)

    def dialog(self, dialog: Any) -> None:
        """A page that asks or says something is wrong."""
        self.wrongs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def console(self, said: Any) -> None:
        """So is an error on its console."""
        if said.type == "error":
            self.wrongs.append(f"console: {said.text}")

    def check(self) -> None:
        """Nothing ran that should not have, and the page's own script had no trouble."""
        violations, ran = self.page.evaluate("[window.violations, window.pwned]")
        assert not violations, violations
        assert ran is None, ran
        assert not self.wrongs, self.wrongs


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser; whoever asks is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def watched(browser: Any, *, dark: bool = False, width: int = 1200) -> Iterator[Watched]:
    """A new page that knows nothing of the others."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    context.add_init_script(_NOTE_VIOLATIONS)
    seen = Watched(context.new_page())
    seen.page.set_default_timeout(60_000)
    seen.page.on("dialog", seen.dialog)
    seen.page.on("pageerror", lambda error: seen.wrongs.append(f"error: {error}"))
    seen.page.on("console", seen.console)
    yield seen
    context.close()
