"""`python -m bench [NAME ...]`: measure every part or those named, show the figures as they come, write the report."""

import argparse
import importlib
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench import report
from bench.frame import Figure, NotInstalled, Options, Part

# In the order of the report. Each is a module of this folder that defines PART.
NAMES = (
    "throughput", "processes", "limits", "outage", "last_dollar", "in_flight", "scale", "main_job", "peers",
)  # fmt: skip


def main() -> int:
    """Measure; the exit code is 0 when every part came to its end, whatever its figures are."""
    arguments = _arguments()
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))  # servers and clients inherit it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that no server stays behind
    sections = []
    for name in arguments.names or NAMES:
        section = _measured(name, arguments)
        if section is not None:
            sections.append(section)
            if arguments.write:  # at once: whoever interrupts the rest keeps what has been measured
                report.keep([section], NAMES)
    sys.stdout.write("\n" + report.markdown(sections))
    return 0 if all(not section.problem for section in sections) else 1


def part_of(name: str) -> Part:
    """The part of this name; imports its module."""
    part = importlib.import_module(f"bench.{name}").PART
    assert isinstance(part, Part)
    return part


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="tunemill, measured on this machine.")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="short forms: below five minutes together")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3); one in the quick form")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {report.RESULTS}, too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def _measured(name: str, arguments: argparse.Namespace) -> report.Section | None:
    """One part; figures that came before a failure are kept. None where this machine lacks what it takes."""
    part, figures, problem, started = part_of(name), list[Figure](), "", time.perf_counter()
    _tell(f"\n{name}: {part.title}")
    with tempfile.TemporaryDirectory(prefix=f"tunemill-bench-{name}-") as folder:
        options = Options(folder=Path(folder), quick=arguments.quick, rounds=arguments.rounds)
        try:
            for figure in part.measure(options):
                figures.append(figure)
                _tell(f"  {report.line(report.row(figure))}")
        except NotInstalled as missing:
            _tell(f"  not measured: {missing}")
            return None
        except Exception as error:  # one part must not take the others' figures along
            traceback.print_exc()
            problem = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - started
    _tell(f"  {seconds:.0f} s{f'; {problem}' if problem else ''}")
    form = "quick" if arguments.quick else "full"
    return report.section(name, part, figures, seconds=seconds, form=form, problem=problem)


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
