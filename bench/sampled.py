"""A command of tunemill with its main thread looked at a thousand times a second of its processor time.

    python bench/sampled.py STACKS run RECIPE ...

Writes collapsed stacks (`frame;frame;frame count`, the outermost first), which flame graphs are drawn from. `parts_of`
says how much of it each part of tunemill took. Signals reach Python between two of its instructions, so that what a
library does in C is counted where it was called.
"""

import atexit
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

PERIOD_S = 0.001
# From the innermost frame outwards, the first of these that a file's path contains names the part.
PARTS = (
    ("/tunemill/client/", "HTTP: the client and aiohttp"),
    ("/tunemill/journal/index", "journal: the index in SQLite"),
    ("/tunemill/journal/", "journal: lines, checksums, group commit, totals"),
    ("/tunemill/app/recorder", "journal: lines, checksums, group commit, totals"),
    ("/tunemill/telemetry/", "telling: metrics, logs, display"),
    ("/tunemill/app/figures", "telling: metrics, logs, display"),
    ("/tunemill/app/shown", "telling: metrics, logs, display"),
    ("/tunemill/sources/", "planning: rows, prompts, ids, prices"),
    ("/tunemill/plan/", "planning: rows, prompts, ids, prices"),
    ("/tunemill/templates/", "planning: rows, prompts, ids, prices"),
    ("/tunemill/pricing", "planning: rows, prompts, ids, prices"),
    ("/tunemill/app/prices", "planning: rows, prompts, ids, prices"),
    ("/tunemill/answers", "reading the answer"),
    ("/tunemill/engine/", "engine: pacing, budget, attempts"),
    ("/aiohttp/", "HTTP: the client and aiohttp"),
)
REST = "event loop: sockets, timers, switching tasks"
EDGES = "starting and ending"


def parts_of(stacks: Path) -> Counter[str]:
    """Samples by part."""
    parts: Counter[str] = Counter()
    for line in stacks.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        parts[_part_of(stack.split(";"))] += int(count)
    return parts


def _part_of(frames: list[str]) -> str:
    if "runners.py" not in "".join(frames) or any("importlib" in frame for frame in frames):
        return EDGES
    for frame in reversed(frames):
        for path, part in PARTS:
            if path in frame:
                return part
    return REST


def _frames(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        code = frame.f_code
        yield f"{code.co_name} ({code.co_filename})"
        frame = frame.f_back


def main() -> None:
    """Run the command, sampled."""
    stacks, sys.argv = Path(sys.argv[1]), ["tunemill", *sys.argv[2:]]
    seen: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        seen[";".join(reversed(list(_frames(frame))))] += 1

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        stacks.write_text("".join(f"{stack} {count}\n" for stack, count in seen.most_common()), encoding="utf-8")

    atexit.register(write)
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    from tunemill.cli import main as tunemill

    tunemill()


if __name__ == "__main__":
    main()
