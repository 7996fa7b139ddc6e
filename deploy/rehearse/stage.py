"""What smoke and drill share: the provider, a recipe, waiting for something to be so, and saying what was seen."""

import contextlib
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.ports import free_port
from tests.support.running import grid_recipe
from tests.support.simulator import Simulator

RECIPE = "recipes/recipe.toml"
RUN = "runs/rehearsal"
_POLL_S = 0.02
DEADLINE_S = 180.0
KEY = "rehearsal"


class Unexpected(Exception):
    """The rehearsal went otherwise than it should; the message says how."""


def require(truth: bool, what: str) -> None:
    """Raise Unexpected unless it is true."""
    if not truth:
        raise Unexpected(what)


def until(is_so: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> float:
    """Wait until it is so; the seconds that it took. Raises Unexpected where it does not come to be."""
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > deadline_s:
            raise Unexpected(f"waited {deadline_s:g} s in vain for: {what}")
        time.sleep(_POLL_S)
    return time.monotonic() - started


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def recipe_in(folder: Path, *, rows: int, more: str = "") -> Path:
    """A pod's recipe over so many rows."""
    return grid_recipe(folder / RECIPE, rows=rows, max_tokens=200, more=more)


def environment_of(provider: Simulator, **more: str) -> dict[str, str]:
    """Of a pod whose provider is this simulator."""
    return {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": KEY, "TUNEMILL_RUN_DIR": RUN, **more}


def listening_at() -> str:
    """A place on loopback for /metrics and the rest."""
    return f"127.0.0.1:{free_port()}"


def fetched(listen: str, path: str) -> str | None:
    """What the run answers there; None where it does not."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{listen}{path}", timeout=5) as reply:
        text: str = reply.read().decode()
        return text
    return None


def lines_of(path: Path) -> Iterator[bytes]:
    """Of a file that may not be there."""
    if path.exists():
        yield from path.read_bytes().splitlines()
