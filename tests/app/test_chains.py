"""Chains of steps on a real journal: what belongs together stays together while prompts are edited."""

import json
import re
from pathlib import Path

from tests.support.running import run
from tests.support.simulator import Simulator

RECIPE = """\
name = "chain"
[source]
kind = "grid"
[source.axes]
animal = ["cat", "dog", "cow", "hen", "fox", "owl", "bee", "elk", "ant", "emu"]
[[steps]]
name = "outline"
model = "gpt-4o-mini"
prompt = "Outline a tale about a {{ animal }}. VERSION"
[steps.params]
max_tokens = 60
[[steps]]
name = "tale"
model = "gpt-4o-mini"
prompt = "Expand: {{ outline }}"
samples = 2
[steps.params]
max_tokens = 60
[limits]
concurrency = 1
[train]
user = "{{ outline }}"
assistant = "{{ tale }} #{{ sample }}"
"""


def _recipe(folder: Path, version: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE.replace("VERSION", version), encoding="utf-8")
    return path


def _pairs(folder: Path) -> set[tuple[str, str]]:
    """(outline, tale) of each training example."""
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [[message["content"] for message in line["messages"]] for line in lines]
    return {(user, re.sub(r" #\d+$", "", assistant)) for user, assistant in texts}


def _asked_and_answered(folder: Path, cwd: Path, base_url: str) -> dict[str, str]:
    """Each tale's prompt by its text, as `show` tells."""
    said = run("show", folder, "--json", "--where", "step == 'tale'", base_url=base_url, cwd=cwd)
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    return {line["text"].strip(): line["prompt"] for line in lines}


def test_an_old_tale_is_no_answer_to_a_new_outline(tmp_path: Path) -> None:
    """The budget ends a run with an edited prompt: no example pairs a new outline with an old tale."""
    with Simulator() as server:
        whole = run("run", _recipe(tmp_path, "one"), "--run-dir", "r", base_url=server.base_url, cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        first = _pairs(tmp_path / "r")
        spent = server.books()["usd_billed"]
        edited = _recipe(tmp_path, "two")
        capped = run(
            "run", edited, "--run-dir", "r", "--budget", f"{spent * 1.5:.9f}", base_url=server.base_url, cwd=tmp_path
        )
        assert capped.returncode == 3, capped.stderr
        prompts = _asked_and_answered(tmp_path / "r", tmp_path, server.base_url)
        second = _pairs(tmp_path / "r")
    assert second
    assert second != first
    for outline, tale in second:
        assert prompts[tale] == f"Expand: {outline}"
