"""Where the processor time of a run goes, by part of tunemill, against a server that answers at once.

    python -m bench.profiled FOLDER [--rows N]

Prints a table; the collapsed stacks, which flame graphs are drawn from, stay in FOLDER. See `bench/sampled.py`.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.running import BENCH, client_environment, measured, run_command, tunemill_command
from bench.sampled import EDGES, parts_of
from bench.servers import nginx
from bench.throughput import run_recipe


def profiled(folder: Path, *, rows: int) -> Mapping[str, float]:
    """Milliseconds of a request by part, starting and ending left out; the stacks stay in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stacks = (folder / "stacks.txt").resolve()
    with nginx() as server, tempfile.TemporaryDirectory(prefix="tunemill-profiled-") as place:
        command = run_command(run_recipe(Path(place), rows=rows), Path(place) / "run")[len(tunemill_command()) :]
        sampled = [sys.executable, str(BENCH / "sampled.py"), str(stacks), *command]
        usage = measured(sampled, said=Path(place) / "said", environment=client_environment(server.base_url))
    parts = parts_of(stacks)
    cpu_ms, samples = usage.cpu_ms(rows), parts.total()
    del parts[EDGES]
    return {part: cpu_ms * count / samples for part, count in parts.most_common()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiled", description="Where the processor time goes.")
    parser.add_argument("folder", type=Path, help="where the stacks are left")
    parser.add_argument("--rows", type=int, default=20_000, help="of the run (20,000)")
    arguments = parser.parse_args()
    parts = profiled(arguments.folder, rows=arguments.rows)
    lines = [f"| {part} | {milliseconds:.3f} |" for part, milliseconds in parts.items()]
    sys.stdout.write("\n".join(["| where the time goes | ms a request |", "|---|---|", *lines, ""]))


if __name__ == "__main__":
    main()
