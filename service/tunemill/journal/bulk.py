"""Many lines of the journal at once, by place: those that stand close together are read in one piece.

Whoever goes through a run in the order of its source reads lines that were written within a few seconds of each other.
"""

from collections.abc import Iterable

from tunemill.journal.known import unpacked
from tunemill.journal.segments import LineReader

PIECE_BYTES_MAX = 1024 * 1024
GAP_BYTES_MAX = 16 * 1024  # to read so much that nobody wants takes as long as to ask once more


def read_lines(reader: LineReader, places: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    """The bytes of lines, not yet checked, by packed place; each is asked for by its packed place and its length."""
    found: dict[int, bytes] = {}
    close: list[tuple[int, int]] = []
    begin = end = 0
    for line in sorted(places):
        place, length = line
        # Two segments are further apart than any two lines of one.
        if close and (place > end + GAP_BYTES_MAX or place + length > begin + PIECE_BYTES_MAX):
            _read(reader, begin, end, close, found)
            close = []
        if not close:
            begin = place
        close.append(line)
        end = place + length
    if close:
        _read(reader, begin, end, close, found)
    return found


def _read(reader: LineReader, begin: int, end: int, lines: list[tuple[int, int]], found: dict[int, bytes]) -> None:
    piece = reader.read_text(unpacked(begin, end - begin))
    for place, length in lines:
        at = place - begin
        found[place] = piece[at : at + length]
