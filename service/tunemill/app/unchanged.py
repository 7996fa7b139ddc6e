"""Whether a run was seen through to its end and nothing has changed since: then not a single row has to be looked at.

A run that ends with every place completed or failed leaves a fingerprint of all that decided its requests. When it is
started again with the same one, walking would find for each request what is on record anyhow. Whatever is not certain
means: walk.
"""

import json
from hashlib import blake2b

import tunemill
from tunemill.app.folder import RunFolder
from tunemill.app.generate import GenerateOptions
from tunemill.app.open_run import OpenRecipe, OpenRun
from tunemill.app.settled import settled_whole
from tunemill.journal import Ended, RequestState, ended_with
from tunemill.model import RunState
from tunemill.plan import RENDERING

SEEN_THROUGH = frozenset({RunState.FINISHED, RunState.FINISHED_WITH_FAILURES})


def inputs_of(opened: OpenRecipe, limit: int | None) -> str:
    """A fingerprint of all that decides a run's requests. To be taken before the source is read: what is changed while
    it is read will then be seen the next time."""
    recipe = opened.recipe.model_dump(mode="json", include={"source", "steps"})
    what = [tunemill.__version__, RENDERING, recipe, str(opened.loaded.folder), opened.source.stamp(), limit]
    # Keys stay in their order: that of the axes decides which rows come first.
    return blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()


def seen_through(folder: RunFolder, inputs: str, options: GenerateOptions) -> Ended | None:
    """How the run ended, if it saw through just these inputs and nobody asks for more. Opens and changes nothing."""
    ended = ended_with(folder.journal)
    if ended is None or ended.inputs != inputs or options.keep_existing or options.retry_failed:
        return None
    return ended if RunState(ended.state) in SEEN_THROUGH else None


def is_seen_through(seen: Ended | None, run: OpenRun, opened: OpenRecipe) -> bool:
    """Whether the journal, now that it is open, bears it out: it ended so, and has an outcome for every place."""
    if seen is None or seen != run.before:
        return False
    places = run.journal.totals.walked * opened.planner.chain.requests_per_row
    settled = settled_whole(run.journal)
    if settled is not None:
        return settled.completed + settled.failed == places > 0
    index = run.journal.index
    return places > 0 and index.slots_in(RequestState.COMPLETED) + index.slots_in(RequestState.FAILED) == places
