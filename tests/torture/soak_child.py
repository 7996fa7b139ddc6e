"""A run that looks at itself while it works: `python -m tests.torture.soak_child RECIPE RUN_DIR SECONDS EVERY_S`.

One line of JSON for each look: seconds, bytes of the journal, resident bytes, live blocks of Python's allocator, open
files, files of the journal among them, tasks, threads. After SECONDS the process asks itself to stop, as a container's
SIGTERM would.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path

from tunemill.app.generate import GenerateOptions
from tunemill.app.main_job import RunOptions, run_recipe
from tunemill.app.run_stages import Until
from tunemill.app.shown import ShowOptions
from tunemill.telemetry import make_console

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def main(recipe: Path, run_dir: Path, seconds: float, every_s: float) -> None:
    """Run until told to stop, and look."""
    options = RunOptions(
        recipe=recipe,
        until=Until.GENERATE,
        run_dir=run_dir,
        generate=GenerateOptions(limit=None, grace_s=60.0, keep_existing=False, retry_failed=False),
        show=ShowOptions(console=make_console(), stream=sys.stderr, log_level="error"),
    )
    run = asyncio.create_task(run_recipe(options, os.environ))
    began = time.monotonic()
    while not run.done() and time.monotonic() - began < seconds:
        await asyncio.sleep(every_s)
        _look(time.monotonic() - began, run_dir / "journal")
    os.kill(os.getpid(), signal.SIGTERM)
    result = await run
    _say(exit_code=result.exit_code, reason=result.reason)


def _look(seconds: float, journal: Path) -> None:
    # What is garbage already, and only waits for its turn, is no growth.
    gc.collect()
    links = _open_files()
    _say(
        seconds=round(seconds, 2),
        journal_bytes=sum(path.stat().st_size for path in journal.glob("*.jsonl")),
        rss_bytes=int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES,
        blocks=sys.getallocatedblocks(),
        files=len(links),
        journal_files=sum(link.startswith(str(journal)) for link in links),
        tasks=len(asyncio.all_tasks()),
        threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208 - names alone
    )


def _open_files() -> list[str]:
    links = []
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names alone
        try:
            links.append(os.readlink(f"/proc/self/fd/{entry}"))  # noqa: PTH115 - no Path for something not there
        except FileNotFoundError:  # the listing's own
            continue
    return links


def _say(**figures: object) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
