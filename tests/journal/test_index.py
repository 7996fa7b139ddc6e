"""What the index was never told of it does not know, whatever else it was told."""

from tunemill.journal.index import SEEN_BYTES, Index
from tunemill.journal.known import RequestState
from tunemill.journal.segments import Location

HERE = Location(1, 700, 90)
PUT = "00000000000000071111111111111111"
ALIKE = f"{7 + SEEN_BYTES:016x}{'1' * 16}"  # another key, of which the last bits are the same
OTHER = "00000000000000082222222222222222"


def test_what_was_not_put_is_not_known() -> None:
    """Neither before anything was, nor beside something, nor where the last bits of its key are those of another."""
    index = Index(None)
    assert index.request(PUT) is None
    assert index.row(PUT) is None
    index.put_sent(PUT, 1, HERE)
    index.put_row(0, PUT, HERE)
    for unknown in (ALIKE, OTHER):
        assert index.request(unknown) is None
        assert index.row(unknown) is None
    index.close()


def test_what_was_put_is_known() -> None:
    """While it waits in memory, and when it was written; as a request, as a row, and both under keys that are alike."""
    index = Index(None)
    for written in (False, True):
        for key in (PUT, ALIKE):
            index.put_sent(key, 2, HERE)
            index.put_outcome(key, RequestState.FAILED, HERE)
            index.put_row(3, key, HERE)
        if written:
            assert index.slots_in(RequestState.FAILED) == 0  # which makes it write
        for key in (PUT, ALIKE):
            request, row = index.request(key), index.row(key)
            assert request is not None
            assert (request.state, request.attempts, request.outcome) == (RequestState.FAILED, 2, HERE)
            assert row is not None
            assert (row.location, row.position) == (HERE, 3)
    index.close()
