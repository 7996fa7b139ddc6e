"""Runs tunemill on a disk that takes more than a second to have anything on it: `python slow_disk.py tunemill ARGS`."""

import os
import sys
import time

_SECONDS = 1.3
_fsync = os.fsync


def _slowly(descriptor: int) -> None:
    time.sleep(_SECONDS)
    _fsync(descriptor)


os.fsync = _slowly  # type: ignore[assignment] # before the code under test is loaded, which knows nothing of it

if __name__ == "__main__":
    from tunemill.cli import main

    del sys.argv[0]
    main()
