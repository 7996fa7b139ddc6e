"""What a disk would still hold if the power went now: the bookkeeping of fsync for one folder.

Content that was written and not fsynced may be lost from any byte on. A name that was made, replaced or removed may be
as it was before, as long as its folder was not fsynced since; as on a file system with a journal, names are lost from
some moment on, and not here and there. What the operating system does by itself in between is not played.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

Inode = tuple[int, int]


class Disk:
    """Told of every change before or after it is made; `lose` takes back what nobody made durable.

    `shadow` is a folder on the same file system, outside the one that is watched, for what was replaced or removed.
    """

    def __init__(self, shadow: Path) -> None:
        self._shadow = Path(tempfile.mkdtemp(dir=shadow))
        self._kept = 0
        self._durable_bytes: dict[Inode, int] = {}
        self._paths: dict[Inode, Path] = {}
        self._undo: list[tuple[Path, Callable[[], None]]] = []  # by folder, oldest first

    def before_write(self, descriptor: int, path: Path) -> None:
        """The file is about to be written, or cut."""
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        self._durable_bytes.setdefault(inode, status.st_size)
        self._paths[inode] = path

    def synced(self, descriptor: int, path: Path) -> None:
        """An fsync returned: of a file, or of a folder."""
        status = os.fstat(descriptor)
        self._durable_bytes.pop((status.st_dev, status.st_ino), None)
        self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]

    def created(self, path: Path) -> None:
        """A name that was not there is there."""
        self._undo.append((path.parent, lambda: path.unlink(missing_ok=True)))

    def before_replace(self, source: Path, target: Path) -> None:
        """`source` is about to take the place of `target`."""
        old = self._keep(target)
        status = source.stat()
        self._paths[(status.st_dev, status.st_ino)] = target

        def undo() -> None:
            target.rename(source)
            if old is not None:
                old.rename(target)

        self._undo.append((target.parent, undo))

    def before_unlink(self, path: Path) -> None:
        """The name is about to go."""
        old = self._keep(path)

        def undo() -> None:
            if old is not None and not path.exists():
                old.rename(path)

        self._undo.append((path.parent, undo))

    def lose(self, luck: Random) -> None:
        """The power goes."""
        for inode, durable in self._durable_bytes.items():
            path = self._paths[inode]
            if not path.exists() or (path.stat().st_dev, path.stat().st_ino) != inode:
                continue
            size = path.stat().st_size
            if size > durable:
                os.truncate(path, luck.choice([durable, luck.randint(durable, size)]))
        lost = luck.choice([0, len(self._undo), luck.randint(0, len(self._undo))])
        for _, undo in reversed(self._undo[len(self._undo) - lost :]):
            undo()

    def _keep(self, path: Path) -> Path | None:
        if not path.exists():
            return None
        self._kept += 1
        kept = self._shadow / str(self._kept)
        os.link(path, kept)
        return kept
