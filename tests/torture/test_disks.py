"""A disk that is full, read-only or broken in mid-run: the run stops with one clear message and exit code 74, and goes
on when it is run again on a disk that works.

Most of it needs no rights: the operating system's calls fail in the child from a point on. The real things are a limit
on the size of files, and small and read-only file systems where this machine lets one be mounted.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.support.simulator import Simulator
from tests.support.torture import Figures
from tests.torture.strikes import CHANGING, WRITING, Point
from tests.torture.whole_run import Bench, End, Nursery

DONE = 0
MISTAKE = 2
UNWRITABLE = 74
ERRORS = {"ENOSPC": WRITING, "EROFS": CHANGING, "EIO": CHANGING}  # what a disk in that state refuses
IN_SHORT = 4
PARTS = 4


def points_of(bench: Bench, error: str) -> list[Point]:
    """Where the disk may begin to fail in this way: before a call that it refuses, or when half of it is through."""
    return [point for point in bench.points if point.when != "after" and point.name.startswith(ERRORS[error])]


def expect_a_clear_end(end: End, what: object) -> None:
    """One message, and no traceback. What cannot even begin is a mistake; what nobody depends on is no failure."""
    assert end.code in {UNWRITABLE, MISTAKE, DONE}, (str(what), end)
    assert "Traceback" not in end.err, (str(what), end)
    if end.code == UNWRITABLE:
        assert "cannot be written" in end.err, (str(what), end)
        assert "run again" in end.err, (str(what), end)


def failed_and_resumed(bench: Bench, point: Point, error: str) -> bool:
    """One case; whether the run was stopped."""
    case = bench.case()
    end = case.run(case.plan(point, error=error))
    expect_a_clear_end(end, f"{error} {point}")
    assert end.code != DONE or ".index" in point.name or _is_late(bench, point), (str(point), end)
    resumed = case.run()
    assert resumed.code == DONE, (error, str(point), resumed)
    case.check(kills=1)
    return end.code == UNWRITABLE


def _is_late(bench: Bench, point: Point) -> bool:
    """Whether a run may not come to this point: lines of the journal are written together as they happen to come."""
    times = [other.nth for other in bench.points if other.kind == point.kind]
    return point.nth > 0.7 * max(times)


@pytest.mark.timeout(600)
def test_a_disk_that_fails_in_mid_run(bench: Bench, torture_seed: int, figures: Figures) -> None:
    """Full, read-only or broken from some call on: it stops and says why, and goes on when all is well."""
    luck = Random(torture_seed)
    stopped = 0
    for number in range(IN_SHORT):
        error = list(ERRORS)[number % len(ERRORS)]
        points = [point for point in points_of(bench, error) if ".index" not in point.name]  # a cache is no reason
        kind = luck.choice(sorted({point.kind for point in points}))
        stopped += failed_and_resumed(bench, luck.choice([point for point in points if point.kind == kind]), error)
    figures.say(cases=IN_SHORT, stopped=stopped)
    assert stopped >= IN_SHORT // 4


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_disk_that_fails_at_every_call(bench: Bench, error: str, part: int, figures: Figures) -> None:
    """Every call that changes something is once the first that fails."""
    mine = points_of(bench, error)[part::PARTS]
    stopped = sum(failed_and_resumed(bench, point, error) for point in mine)
    figures.say(cases=len(mine), stopped=stopped)
    assert stopped > len(mine) / 2


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bytes_max", [20_000, 1])
def test_files_that_may_not_grow(bench: Bench, bytes_max: int) -> None:
    """A real limit on the size of files (EFBIG, as a quota or a file system's own limit gives it)."""
    case = bench.case()
    end = case.run(file_bytes_max=bytes_max)
    expect_a_clear_end(end, bytes_max)
    assert end.code != DONE
    assert case.run().code == DONE
    case.check(kills=1)


# -- real file systems -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SmallDisk"]:
    """A file system of its own that only the children see."""
    folder = tmp_path_factory.mktemp("small")
    place = folder / "disk"
    place.mkdir()
    unshare, nsenter = shutil.which("unshare"), shutil.which("nsenter")
    mount = f"mount -t tmpfs -o size=64k none {place}"
    if not unshare or not nsenter or subprocess.run([unshare, "-m", "sh", "-c", mount], check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    before = [unshare, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    with Simulator("--job-per-retrieve") as simulator, Nursery(before=before) as nursery:
        bench = Bench(folder, simulator, nursery)
        bench.run_whole()
        yield SmallDisk(bench, place, nursery.pid, nsenter)


class SmallDisk:
    """See `small_disk`. `seen` is the place as this process sees it, `place` as the children do."""

    def __init__(self, bench: Bench, place: Path, pid: int, nsenter: str) -> None:
        self.bench = bench
        self.place = place
        self.seen = Path(f"/proc/{pid}/root") / place.relative_to("/")
        self._pid = pid
        self._nsenter = nsenter

    def clear(self) -> None:
        """Nothing is on it any more."""
        for run in self.seen.iterdir():
            shutil.rmtree(run)

    def remount(self, options: str) -> None:
        """Change its size, or whether it can be written."""
        command = [self._nsenter, "-t", str(self._pid), "-m", "mount", "-o", f"remount,{options}", str(self.place)]
        subprocess.run(command, check=True)


@pytest.mark.timeout(600)
def test_a_small_file_system_fills_up(small_disk: SmallDisk, torture_seed: int, figures: Figures) -> None:
    """Really full, several times in one run; with room made each time it comes to its end."""
    luck = Random(torture_seed)
    case = small_disk.bench.case()
    run_dir = small_disk.place / "full"
    small_disk.clear()
    full = 0
    for kilobytes in sorted(luck.sample(range(8, 200, 4), 3)):
        small_disk.remount(f"size={kilobytes}k")
        end = case.run(run_dir=run_dir)
        expect_a_clear_end(end, f"{kilobytes} KB")
        full += end.code == UNWRITABLE
    small_disk.remount("size=16m")
    assert case.run(run_dir=run_dir).code == DONE
    case.check(kills=full, root=small_disk.seen / "full")
    figures.say(full=full)
    assert full


@pytest.mark.timeout(600)
def test_a_file_system_that_became_read_only(small_disk: SmallDisk) -> None:
    """A run that finds its folder read-only says so and changes nothing; writable again, it goes on."""
    case = small_disk.bench.case()
    run_dir = small_disk.place / "read-only"
    small_disk.clear()
    small_disk.remount("size=40k")
    assert case.run(run_dir=run_dir).code == UNWRITABLE
    small_disk.remount("size=16m,ro")
    end = case.run(run_dir=run_dir)
    assert end.code == MISTAKE, end
    assert "Read-only file system" in end.err
    small_disk.remount("size=16m,rw")
    assert case.run(run_dir=run_dir).code == DONE
    case.check(kills=1, root=small_disk.seen / "read-only")
