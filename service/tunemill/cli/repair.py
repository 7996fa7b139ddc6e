"""`repair` and `compress`: what was done to a journal, for a person or a program."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunemill.app.folder import existing
from tunemill.cli.output import print_json, print_line
from tunemill.journal.compressing import compress_finished
from tunemill.journal.damage import Piece
from tunemill.journal.repair import ASIDE, Repair, inspect, repair
from tunemill.journal.segments import segment_path
from tunemill.model import usd

DAMAGED = 2
_SHOWN_MAX = 20


def repair_command(run: str, *, dry_run: bool, as_json: bool) -> int:
    """Mend it, or only say what is wrong; the exit code. Raises RunFolderError and RunFolderBusy."""
    folder = existing(run)
    lock = folder.lock()
    try:
        aside = folder.path / ASIDE
        found = inspect(folder.journal) if dry_run else repair(folder.journal, aside, at=time.time())
    finally:
        lock.release()
    if as_json:
        print_json(_as_json(found, is_mended=not dry_run))
    else:
        for line in _sentences(found, aside=str(aside), run=folder.name, dry_run=dry_run):
            print_line(line)
    return DAMAGED if dry_run and found.damaged else 0


def compress_command(run: str, *, as_json: bool) -> None:
    """Compress, and say what that saved. Raises RunFolderError and RunFolderBusy."""
    folder = existing(run)
    lock = folder.lock()
    try:
        done = compress_finished(folder.journal)
    finally:
        lock.release()
    if as_json:
        print_json({"compressed": [{"file": file.name, "before": file.before, "after": file.after} for file in done]})
        return
    for file in done:
        print_line(f"journal/{file.name}: {file.before:,} bytes are {file.after:,} now")
    if not done:
        print_line("nothing to compress: a file of the journal is finished when the next one was begun")


def _as_json(found: Repair, *, is_mended: bool) -> dict[str, Any]:
    return {
        "damaged": [
            {
                "file": _file_of(piece),
                "line": piece.line,
                "offset": piece.offset,
                "bytes": len(piece.text),
                "problem": piece.problem,
                "kind": piece.kind or None,
                "request_id": piece.request or None,
                "row": piece.row or None,
            }
            for piece in found.damaged
        ],
        "mended": is_mended and bool(found.damaged),
        "sent_again": [
            {
                "request_id": sent.request,
                "row": sent.row,
                "step": sent.step,
                "sample": sent.sample,
                "attempt": sent.attempt,
            }
            for sent in found.again
        ],
        "perhaps_sent_again": list(found.perhaps),
        "usd": {"uncertain_added": usd(found.uncertain), "uncertain_open": usd(found.open)},
    }


def _file_of(piece: Piece) -> str:
    return segment_path(Path(), piece.segment).name


def _sentences(found: Repair, *, aside: str, run: str, dry_run: bool) -> Iterator[str]:
    if not found.damaged:
        yield "the journal is whole: there is nothing to mend"
        return
    many = len(found.damaged)
    done = f"would be set aside into {aside}" if dry_run else f"set aside into {aside}"
    yield f"{many} damaged piece{'s' if many > 1 else ''} {done}:"
    for piece in found.damaged[:_SHOWN_MAX]:
        what = f"of kind {piece.kind}" if piece.kind else "of a kind that cannot be made out"
        yield f"  journal/{_file_of(piece)}:{piece.line}: {piece.problem} ({what})"
    if many > _SHOWN_MAX:
        yield f"  and {many - _SHOWN_MAX} more"
    for sent in found.again[:_SHOWN_MAX]:
        yield f"request {sent.request} (step {sent.step}, row {sent.row}) has no outcome: it is sent and paid again"
    if len(found.again) > _SHOWN_MAX:
        yield f"and {len(found.again) - _SHOWN_MAX} more requests without an outcome; --json names all"
    for request in found.perhaps[:_SHOWN_MAX]:
        yield f"request {request}, as far as can be read, may have to be sent and paid again"
    if found.uncertain:
        yield f"${usd(found.uncertain):.6f} may have been billed and only these lines told: counted as uncertain"
    if found.open:
        yield f"${usd(found.open):.6f} is the worst case of what has no outcome: counted as uncertain by the next run"
    yield f"run the recipe again to go on; `tunemill status {run}` shows where it stands"
