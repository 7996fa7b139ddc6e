"""What happens at a run's points: they are counted, the process is killed, the power goes, or the disk gives up."""

import errno
import os
import signal
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Self

from tests.torture.power import Disk
from tests.torture.wrapped import When

WRITING = ("write", "create", "truncate")
CHANGING = (*WRITING, "replace", "unlink", "fsync")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The `nth` time (from 1) that this call reaches this stage."""

    name: str
    when: str
    nth: int

    @property
    def kind(self) -> tuple[str, str]:
        """Points of one kind do the same to the same."""
        return self.name, self.when

    def __str__(self) -> str:
        return f"{self.when} {self.name} #{self.nth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a child is to do at which point. Without a point it only counts.

    `power_seed` says that the power goes too, and with what luck; `error` is the disk's error (an errno's name) from
    that point on, instead of an end.
    """

    root: str
    shadow: str
    log: str
    point: Point | None = None
    power_seed: int | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, raw: dict[str, Any]) -> Self:
        point = raw.pop("point")
        return cls(point=None if point is None else Point(**point), **raw)


class Striking:
    """Carries a plan out. `seen` is every point that was reached, in order."""

    def __init__(self, plan: Plan, disk: Disk) -> None:
        self.seen: list[Point] = []
        self._plan = plan
        self._disk = disk
        self._times: Counter[tuple[str, str]] = Counter()
        self._is_broken = False

    def __call__(self, name: str, when: When) -> None:
        """See `wrapped.Strike`."""
        self._times[name, when.value] += 1
        point = Point(name=name, when=when.value, nth=self._times[name, when.value])
        self.seen.append(point)
        if point == self._plan.point:
            self._is_broken = True
            if not self._plan.error:
                self._die()
        if self._plan.error and self._is_broken and when is not When.AFTER and name.startswith(self._refused()):
            number = getattr(errno, self._plan.error)
            raise OSError(number, os.strerror(number))

    def _refused(self) -> tuple[str, ...]:
        """A full disk takes no more bytes; one that is read-only, or broken, takes no change at all."""
        return WRITING if self._plan.error == "ENOSPC" else CHANGING

    def _die(self) -> None:
        if self._plan.power_seed is not None:
            self._disk.lose(Random(self._plan.power_seed))
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # another thread may be the one that gets the signal; this one is to do no more

    def write_log(self) -> None:
        """One line a point; only a process that comes to its end gets here."""
        lines = [f"{point.name}\t{point.when}\t{point.nth}\n" for point in self.seen]
        Path(self._plan.log).write_text("".join(lines), encoding="utf-8")


def points_in(log: Path) -> list[Point]:
    """What `write_log` wrote."""
    split = (line.split("\t") for line in log.read_text(encoding="utf-8").splitlines())
    return [Point(name=name, when=when, nth=int(nth)) for name, when, nth in split]
