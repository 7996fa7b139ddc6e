"""The places where answers are wanted: which requests serve them, and what follows from an answer or a failure.

A place is a row, a step and a sample. Requests that are the same by their id serve many places and are sent once.

    row ──> place of the first step ──> rendered ─┬─> answered already ──────────┐
               ^                                  ├─> on its way: joins it ──────┤
               │                                  ├─> new: enqueued ─────────────┴─> completed ──> places that read it
               └──── places of the next step <────┴─> cannot be sent, or failed ──> failed, and all that would read it

Plain, but for the journal's reads: it waits for nothing. Memory depends on what is under way; what was answered is
forgotten as soon as the steps that read it were rendered.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tunemill.engine import telling
from tunemill.engine.lanes import Lanes
from tunemill.engine.owner import Tools
from tunemill.engine.settled import Settled, SettledRows
from tunemill.engine.size import size_of
from tunemill.engine.work import Counts, Job, Place, Renderer, Standing, Step, Unrenderable
from tunemill.model import Completion, FailureKind, Request, Row
from tunemill.plan import Chain


class Places:
    """See the module.

    `pending` are the jobs on their way, by request id; `count` the places that they serve: a thousand rows may ask for
    the same. `upstream` counts the places that read, directly or not, what pending jobs are to answer.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        rows_planned: int,
        before: Settled,
        render: Renderer,
        tools: Tools,
        lanes: Lanes,
    ) -> None:
        """`before` is what was settled when the walk began; new jobs go to their lanes."""
        self._chain = Chain.of(steps)
        self.counts = Counts(
            planned=(rows_planned - before.duplicates) * self._chain.requests_per_row,
            completed=before.completed,
            failed=before.failed,
            duplicate_rows=before.duplicates,
            completed_by_step=dict(before.completed_by_step),
            failed_by_step=dict(before.failed_by_step),
        )
        self.pending: dict[str, Job] = {}
        self.count = 0
        self.upstream = 0
        self._settled = SettledRows(self._chain.requests_per_row, before)
        of_step = self._chain.counts
        self._below = [sum(of_step[step + 1 :]) // of_step[step] for step in range(len(of_step))]
        self._steps = steps
        self._render = render
        self._is_rendered_alike = True
        self._is_first = True  # of those that are put in line
        self._tools = tools
        self._lanes = lanes

    def began(self, row: Row, number: int, position: int) -> bool:
        """A row of the source is about to be worked on; False where it was there before, and counts no more."""
        if self._tools.recorder.row(position, row):
            self._settled.began(row.id, number, position)
            return True
        self._settled.was_copy(number)
        self.counts.planned -= self._chain.requests_per_row
        self.counts.duplicate_rows += 1
        return False

    def advance(self, place: Place) -> None:
        """Bring one place on its way: sent already, on its way for another place, answered, or new."""
        request = self._render(place)
        if isinstance(request, Unrenderable):
            self._set_aside(place, FailureKind.BAD_REQUEST, request.message)
            return
        twin = self.pending.get(request.id)
        if twin is not None:
            self._tools.recorder.serve(place, request)
            twin.places.append(place)
            self._count_place(place, 1)
            return
        standing, attempts = self._tools.recorder.look_up(place, request)
        if standing is Standing.NEW:
            self._take_up(place, request, attempts)
            return
        if standing is not Standing.KEPT:
            self._tools.recorder.serve(place, request)
        if standing is Standing.SET_ASIDE:
            self.failed(place, f"step {self._steps[place.step].name} failed")
        else:
            self.completed(place, lambda: self._tools.recorder.answer_at(place))

    def _take_up(self, place: Place, request: Request, attempts: int) -> None:
        if self._is_first:
            self._is_first = False
            self._tools.before_first()
        job = Job(
            request=request,
            places=[place],
            worst=self._tools.prices.worst(request),
            size=size_of(request),
            attempts=attempts,
        )
        self.pending[request.id] = job
        self._count_place(place, 1)
        self._lanes.of[request.lane].enqueue(job)

    def completed(self, place: Place, read: Callable[[], Completion]) -> None:
        """Count a place as completed and go on with the step that reads it; `read` is called only if there is one."""
        step = self._steps[place.step]
        self.counts.completed += 1
        self.counts.completed_by_step[step.name] = self.counts.completed_by_step.get(step.name, 0) + 1
        self._settled.completed(place.row.id, step.name)
        if place.step + 1 == len(self._steps):
            return
        completion = read()
        if _is_usable(completion):
            texts = {**place.texts, step.name: completion.text}
            for child in self._children(place, texts):
                self.advance(child)
        else:
            self._set_aside_children(place, f"step {step.name} gave no text to go on with")

    def failed(self, place: Place, message: str) -> None:
        """Count a place as failed for good, and with it all that would have read its answer."""
        step = self._steps[place.step].name
        self.counts.failed += 1
        self.counts.failed_by_step[step] = self.counts.failed_by_step.get(step, 0) + 1
        self._settled.failed(place.row.id, step)
        self._set_aside_children(place, message)

    def forget(self, job: Job) -> None:
        """The job is not on its way any more."""
        del self.pending[job.request.id]
        for place in job.places:
            self._count_place(place, -1)

    def render_by(self, render: Renderer) -> None:
        """Another renderer from now on."""
        self._render = render
        self._is_rendered_alike = False

    def comes_out_otherwise(self, job: Job) -> bool:
        """Whether the renderer makes another request of any of the job's places than the job is."""
        rendered = (self._render(place) for place in job.places)
        return any(isinstance(new, Unrenderable) or new.id != job.request.id for new in rendered)

    def settled(self, *, is_whole: bool) -> Settled | None:
        """How far the walk has come; None where not all of it was rendered by the renderer that it began with."""
        return self._settled.now(is_whole=is_whole) if self._is_rendered_alike else None

    def _set_aside(self, place: Place, kind: FailureKind, message: str) -> None:
        step = self._steps[place.step]
        request_id = self._tools.recorder.set_aside(place, kind, message)
        if request_id is not None:
            self._tools.emit(telling.set_aside(request_id, place, step, kind, message))
        self.failed(place, f"step {step.name} failed")

    def _set_aside_children(self, place: Place, message: str) -> None:
        for child in self._children(place, place.texts):
            self._set_aside(child, FailureKind.UPSTREAM_FAILED, message)

    def _children(self, place: Place, texts: Mapping[str, str]) -> Iterator[Place]:
        for sample in self._chain.child_samples(place.step, place.sample):
            yield Place(row=place.row, step=place.step + 1, sample=sample, texts=texts)

    def _count_place(self, place: Place, by: int) -> None:
        self.count += by
        self.upstream += by * self._below[place.step]


def _is_usable(completion: Completion) -> bool:
    return completion.refusal is None and completion.finish_reason != "content_filter" and bool(completion.text.strip())
