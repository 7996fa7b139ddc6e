"""A process that submits a dataset and can be killed: `python -m tests.finetune.submit_child URL FOLDER RUN EVENT`.

It prints each event as a line of JSON and stands still at the first event of the kind EVENT.
"""

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.finetune.finetune_support import count, order_of

from tunemill.client.fine_tuning import FineTuningTarget
from tunemill.clock import SystemClock
from tunemill.events import Event, FineTuneChanged
from tunemill.finetune.submit import submit


async def main(base_url: str, folder: Path, run: str, stop_at: str) -> None:
    """Submit what lies in the folder."""

    def emit(event: Event) -> None:
        assert isinstance(event, FineTuneChanged)
        sys.stdout.write(json.dumps({"what": event.what, "message": event.message}) + "\n")
        sys.stdout.flush()
        if event.what == stop_at:
            time.sleep(600)

    clock = SystemClock()
    target = FineTuningTarget(base_url=base_url, api_key="sk-test", clock=clock)
    order = replace(order_of(folder / "train.jsonl", base_url=base_url), run=run)
    await submit(order, target=target, folder=folder, check=count, clock=clock, emit=emit)
    await target.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
