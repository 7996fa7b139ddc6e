"""Mends a damaged journal: pieces that are no lines are set aside, and what is left opens. Nothing is deleted, and no
money is forgotten.

What becomes of each kind of line, when it is lost:

    sent            if an outcome of this attempt is there, nothing: the outcome has the cost. Else the attempt may have
                    been billed, and nobody knows at which worst case: the largest of this journal is counted
    completed       its `sent` line is left without an outcome, and is counted as uncertain at its worst case by whoever
                    opens the journal next; the request is sent, and paid, again
    failed,         the same; the request is sent again
    attempt_failed
    unreadable      as `sent`: it may have been one
    row, source,    nothing was paid; the next run reads the source again and notes it anew
    reused
    opened, ended   nothing was paid; the run counts as interrupted until it is run again
    marked          nothing was paid. After a repair no mark holds: every row is looked at again

Beside that, what a snapshot says was settled and uncertain is a floor: what the remaining lines and the above fall
short of it is counted as uncertain, too. All this stands in one `repaired` line at the journal's end, which names the
pieces that it speaks of: a repair that was interrupted is done again and counts nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunemill.files import replacing, write_whole
from tunemill.journal import snapshot
from tunemill.journal.codec import decode, encode
from tunemill.journal.damage import Piece, WholeLine, examine
from tunemill.journal.lines import AttemptFailed, Completed, Failed, Line, Repaired, Sent
from tunemill.journal.segments import file_of, segment_path, segments_of
from tunemill.journal.totals import Totals
from tunemill.model import Picodollars

ASIDE = "damaged.jsonl"
_COSTS_NOTHING = frozenset({"row", "source", "reused", "opened", "ended", "marked", "repaired"})
_IS_COVERED = frozenset({"completed", "failed", "attempt_failed"})  # by its `sent` line, or by that one's own piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What is wrong with a journal and what that comes to.

    `again` are requests that will be sent again; those in `perhaps` may be, as far as can be read. `uncertain` is
    counted for what was lost, `open` is what attempts without an outcome count beside that.
    """

    pieces: Sequence[Piece]
    again: Sequence[Sent]
    perhaps: Sequence[str]
    uncertain: Picodollars
    open: Picodollars

    @property
    def damaged(self) -> Sequence[Piece]:
        """Without the torn last line, which is what every crash leaves, and no damage."""
        return [piece for piece in self.pieces if not piece.is_torn]


class _Books:
    """What the whole lines come to, and which attempts of the damaged requests have an outcome."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.pieces: list[Piece] = []
        self.worst: Picodollars = 0
        self.counted: set[str] = set()

    def take(self, line: Line) -> None:
        self.totals.fold(line)
        if isinstance(line, Sent):
            self.worst = max(self.worst, line.reserved)
        elif isinstance(line, Repaired):
            self.counted.update(line.pieces)


def inspect(folder: Path) -> Repair:
    """What `repair` would do; changes nothing. Raises RunFolderError where a whole segment is missing."""
    books = _Books()
    for _, found in examine(folder, segments_of(folder)):
        if isinstance(found, Piece):
            books.pieces.append(found)
        else:
            books.take(decode(found.text))
    damaged = [piece for piece in books.pieces if not piece.is_torn]
    outcomes = _outcomes(folder, {piece.request for piece in damaged if piece.request})
    lost = [piece for piece in damaged if _may_have_cost(piece, outcomes) and piece.digest not in books.counted]
    uncertain = books.worst * len(lost)
    totals = books.totals
    spent = totals.settled + totals.uncertain + totals.reserved + uncertain
    uncertain += max(0, _floor(folder) - spent)
    known = {request for request, _ in outcomes} | totals.unresolved.keys()
    return Repair(
        pieces=books.pieces,
        again=list(totals.unresolved.values()),
        perhaps=sorted({piece.request for piece in damaged if piece.request and piece.request not in known}),
        uncertain=uncertain,
        open=totals.reserved,
    )


def _may_have_cost(piece: Piece, outcomes: set[tuple[str, int]]) -> bool:
    """Whether money may be forgotten with it that no other line tells of."""
    if len(piece.text) <= 1 or piece.kind in _COSTS_NOTHING or piece.kind in _IS_COVERED:
        return False
    return piece.kind != "sent" or (piece.request, piece.attempt) not in outcomes


def _outcomes(folder: Path, requests: set[str]) -> set[tuple[str, int]]:
    """Which attempts of these requests have an outcome."""
    if not requests:
        return set()
    lines = (decode(found.text) for _, found in examine(folder, segments_of(folder)) if isinstance(found, WholeLine))
    return {
        (line.request, line.attempt)
        for line in lines
        if isinstance(line, Completed | Failed | AttemptFailed) and line.request in requests
    }


def _floor(folder: Path) -> Picodollars:
    """What a snapshot says was spent."""
    try:
        facts = snapshot.read_facts(folder)
    except (OSError, ValueError):
        return 0
    if facts is None:
        return 0
    totals = Totals.of_json(facts["totals"])
    return totals.settled + totals.uncertain


def repair(folder: Path, aside: Path, *, at: float) -> Repair:
    """Mend it. The caller holds the run folder's lock; `aside` is where the pieces go. Raises RunFolderUnwritable.

    The last segment comes first: its `repaired` line is there before the first piece is gone from an earlier one.
    """
    found = inspect(folder)
    if not found.damaged:
        return found
    _set_aside(aside, found.pieces)
    last = segments_of(folder)[-1]
    if file_of(folder, last).suffix == ".zst":  # none of ours is: the last one is not compressed
        last += 1
    segments = {piece.segment for piece in found.pieces}
    line = Repaired(at=at, uncertain=found.uncertain, pieces=[piece.digest for piece in found.damaged])
    for segment in sorted(segments | {last}, reverse=True):
        _rewrite(folder, segment, encode(line) if segment == last else b"", is_last=segment == last)
    snapshot.remove(folder)
    return found


def _rewrite(folder: Path, segment: int, more: bytes, *, is_last: bool) -> None:
    """The segment's whole lines, and `more` at its end. It appears whole or not at all."""
    numbers = [segment] if is_last else [segment, segment + 1]  # so that a torn end is told from a damaged one
    with replacing(segment_path(folder, segment)) as handle:
        for of, found in examine(folder, numbers):
            if of != segment:
                break
            if isinstance(found, WholeLine):
                handle.write(found.text)
        handle.write(more)


def _set_aside(path: Path, pieces: Sequence[Piece]) -> None:
    """Add the pieces to the file of those set aside, each once. Each byte is written as the character of its number."""
    before = path.read_bytes() if path.exists() else b""
    known = {orjson.loads(line)["id"] for line in before.splitlines()}
    lines = [orjson.dumps(_described(piece)) + b"\n" for piece in pieces if piece.digest not in known]
    write_whole(path, before + b"".join(lines))


def _described(piece: Piece) -> dict[str, Any]:
    return {
        "id": piece.digest,
        "file": segment_path(Path(), piece.segment).name,
        "line": piece.line,
        "offset": piece.offset,
        "problem": piece.problem,
        "kind": piece.kind,
        "request_id": piece.request,
        "row": piece.row,
        "latin1": piece.text.decode("latin-1"),
    }
