"""`tunemill repair` on a run: what was damaged is paid again and nothing else, and the answers are what they were."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.app.app_support import candidates
from tests.app.test_unchanged import Run
from tests.support.simulator import Simulator

from tunemill.app.folder import RunFolder
from tunemill.app.open_run import steps_of
from tunemill.cli.repair import repair_command
from tunemill.errors import RunFolderError
from tunemill.journal import open_for_reading
from tunemill.recipe import load_recipe

DAMAGES = 6


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator("--latency-s", "0") as running:
        yield running


def dataset(run: Run) -> list[object]:
    """What would become examples, without what differs from answer to answer."""
    journal = open_for_reading(run.folder.journal)
    found = [
        (
            candidate.position,
            candidate.row,
            {name: answer.text for name, answer in candidate.answers.items()},
        )
        for candidate in candidates(journal, steps_of(load_recipe(run.recipe).recipe))
    ]
    journal.close()
    return list(found)


async def test_a_damaged_run_is_repaired_and_resumed(
    tmp_path: Path, server: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """One byte anywhere: only what was named is sent again, and the dataset is that of the undisturbed run."""
    run = Run(tmp_path, server)
    first, _ = await run.again()
    whole, undisturbed = run.folder.path, dataset(run)
    content = (whole / "journal/000001.jsonl").read_bytes()
    chance = random.Random(20261121)
    for number in range(DAMAGES):
        run.folder = RunFolder(tmp_path / f"damaged-{number}")
        shutil.copytree(whole, run.folder.path, ignore=shutil.ignore_patterns("*.sock", ".index*"))
        at = chance.randrange(len(content))
        damaged = content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
        (run.folder.journal / "000001.jsonl").write_bytes(damaged)
        with pytest.raises(RunFolderError, match="tunemill repair"):
            open_for_reading(run.folder.journal)
        assert repair_command(str(run.folder.path), dry_run=True, as_json=True) == 2
        foretold = json.loads(capsys.readouterr().out)
        assert (run.folder.journal / "000001.jsonl").read_bytes() == damaged
        assert repair_command(str(run.folder.path), dry_run=False, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {**foretold, "mended": True}
        again, sent = await run.again()
        named = len(told["sent_again"]) + len(told["perhaps_sent_again"])
        assert sent <= max(named, len(told["damaged"]))
        assert again.exit_code == 0
        assert dataset(run) == undisturbed
        spent = replace(again.statistics.money, budget=None)
        assert spent.settled + spent.uncertain >= first.statistics.money.settled
        assert run.seen() is not None


async def test_a_whole_journal_is_left_as_it_is(
    tmp_path: Path, server: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is set aside, and nothing is written."""
    run = Run(tmp_path, server)
    await run.again()
    before = {path: path.stat().st_mtime_ns for path in run.folder.path.rglob("*") if path.name != "lock"}
    assert repair_command(str(run.folder.path), dry_run=False, as_json=False) == 0
    assert "nothing to mend" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.folder.path.rglob("*") if path.name != "lock"} == before
