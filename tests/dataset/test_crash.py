"""A build that is killed leaves each file old or new, and never a mixture that passes for a dataset."""

import os
import subprocess
from pathlib import Path

from tests.dataset.build_child import build_kind
from tests.support import warm

from tunemill.dataset import is_current

KILLS = 6
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_killed_build_leaves_old_or_new_files(tmp_path: Path) -> None:
    """Killed again and again in the middle of builds of two kinds in turn: every file is whole, of one kind or the
    other; what calls itself current is of one kind throughout; and the next build mends the rest."""
    whole = {}
    for kind in ("old", "new"):
        (tmp_path / kind).mkdir()
        build_kind(kind, tmp_path / kind)
        whole[kind] = contents(tmp_path / kind)
    folder = tmp_path / "run"
    folder.mkdir()
    for kill in range(KILLS):
        _build_until_killed(folder, builds=1 + kill)
        left = contents(folder)
        assert all(content in (whole["old"][name], whole["new"][name]) for name, content in left.items())
        for kind in ("old", "new"):
            assert not is_current(folder, kind) or left == whole[kind]
    build_kind("new", folder)
    assert is_current(folder, "new")
    assert {path.name for path in folder.iterdir()} == set(whole["new"])


def _build_until_killed(folder: Path, *, builds: int) -> None:
    with warm.popen(
        "tests.dataset.build_child", str(folder), cwd=ROOT, env=os.environ, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        for _ in range(builds + 1):
            child.stdout.readline()
        child.kill()  # somewhere in the build that has begun
