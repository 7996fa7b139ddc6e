"""What several tests of the wiring read of a journal."""

from collections.abc import Iterator, Sequence

from tunemill.app.candidates import candidates_of, portions
from tunemill.engine import Step
from tunemill.journal import Journal
from tunemill.model import Candidate


def candidates(journal: Journal, steps: Sequence[Step]) -> Iterator[Candidate]:
    """All that may become examples, in order."""
    for portion in portions(journal, steps):
        yield from candidates_of(portion, steps, journal.reader)
