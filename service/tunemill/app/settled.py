"""How far a run has come, as its journal's snapshot keeps it: the engine's words on one side, JSON on the other."""

from tunemill.engine import Settled
from tunemill.journal import Journal, Mark


def mark_of(settled: Settled, *, inputs: str, rows: int, answers: int) -> Mark:
    """What is kept. `rows` is how many rows the source of these inputs has, copies included; `answers` how many
    completions the journal has by now, whatever they answer."""
    walk = {
        "walked": settled.walked,
        "positions": settled.positions,
        "duplicates": settled.duplicates,
        "unsettled": settled.unsettled,
        "completed": settled.completed,
        "failed": settled.failed,
        "completed_by_step": settled.completed_by_step,
        "failed_by_step": settled.failed_by_step,
        "is_whole": settled.is_whole,
        "rows": rows,
        "answers": answers,
    }
    return Mark(inputs=inputs, walk=walk)


def settled_before(journal: Journal, inputs: str) -> Settled | None:
    """How far the processes before this one had come with just these inputs; None where that is not known.

    To be asked after this process said in the journal with which inputs it begins.
    """
    mark = journal.mark
    return None if mark is None or not inputs or mark.inputs != inputs else settled_in(mark)


def settled_whole(journal: Journal) -> Settled | None:
    """The same of whoever wrote to the journal last, if nothing was left to do."""
    return None if journal.mark is None else settled_by(journal.mark)


def whole_mark(journal: Journal) -> Mark | None:
    """The mark of whoever wrote to the journal last, if nothing was left to do."""
    return None if settled_whole(journal) is None else journal.mark


def settled_by(mark: Mark) -> Settled | None:
    """What a mark says, if nothing was left to do."""
    settled = settled_in(mark)
    return settled if settled.is_whole and not settled.unsettled else None


def rows_of(mark: Mark | None, inputs: str) -> int | None:
    """How many rows the source of these inputs has, if somebody counted them."""
    return None if mark is None or mark.inputs != inputs else int(mark.walk["rows"])


def answers_since(mark: Mark, answers: int) -> int:
    """How many completions the journal has more than then."""
    return answers - int(mark.walk["answers"])


def settled_in(mark: Mark) -> Settled:
    """What a mark says."""
    walk = mark.walk
    return Settled(
        walked=walk["walked"],
        positions=walk["positions"],
        duplicates=walk["duplicates"],
        unsettled=tuple((number, position) for number, position in walk["unsettled"]),
        completed=walk["completed"],
        failed=walk["failed"],
        completed_by_step=dict(walk["completed_by_step"]),
        failed_by_step=dict(walk["failed_by_step"]),
        is_whole=walk["is_whole"],
    )
