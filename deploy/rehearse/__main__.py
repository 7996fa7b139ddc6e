"""`python -m deploy.rehearse smoke|drill`: with the built image where there is one, the drill without it where not."""

import argparse
import os
import signal
import sys
from contextlib import closing

from deploy.rehearse import crun
from deploy.rehearse.drill import drill
from deploy.rehearse.runtimes import Engine, Processes, Runtime, engine_with
from deploy.rehearse.smoke import facts, smoke
from deploy.rehearse.stage import Unexpected, say


def main() -> int:
    """The exit code: 0 where everything went as it should."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that no container stays behind
    runtime = None if arguments.without_image else runtime_for(arguments.image)
    if runtime is None and arguments.what == "smoke":
        say(f"there is no image {arguments.image!r} here, or nothing to run it with; `make image` builds it")
        return 2
    try:
        with closing(runtime or Processes()) as used:
            say(f"with {used.name}" + (f" and the image {arguments.image}" if runtime else ""))
            if arguments.what == "smoke":
                facts(used)
                smoke(used)
            else:
                drill(used)
    except Unexpected as problem:
        say(f"{arguments.what}: {problem}")
        return 1
    say(f"{arguments.what}: all as it should be")
    return 0


def runtime_for(image: str) -> Runtime | None:
    """Whoever can run the image here."""
    program = engine_with(image)
    if program is not None:
        return Engine(program, image)
    return crun.Crun(image) if crun.is_possible(image) else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.rehearse", description=__doc__)
    parser.add_argument("what", choices=("smoke", "drill"))
    parser.add_argument("--image", default=os.environ.get("IMAGE", "tunemill"), help="the image (tunemill, or $IMAGE)")
    parser.add_argument("--without-image", action="store_true", help="the drill with this checkout's own command")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
