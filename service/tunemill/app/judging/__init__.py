"""Judging the candidates of a run, by this process and by others beside it.

The index belongs to whoever opened the journal, and what becomes of an example depends on those before it: both ends
stay in one process. Between them, each portion is judged for itself (`task`), which is most of a build. Other processes
do that on the other cores (`process`, `serving`), and this one does it, too, whenever it would have to wait (`order`).
What another process cannot do, because it was killed, say, or found a line damaged, is done here again.
"""

from tunemill.app.judging.order import judged_in_order
from tunemill.app.judging.process import judge_processes, processes_worth
from tunemill.app.judging.task import Task, spec_of

__all__ = ["Task", "judge_processes", "judged_in_order", "processes_worth", "spec_of"]
