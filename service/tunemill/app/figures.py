"""A run's figures, from the journal's totals and, while it runs, from the engine."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from tunemill.app.forecast import rows_that_fit
from tunemill.app.settled import answers_since, settled_in, whole_mark
from tunemill.clock import Clock
from tunemill.engine import Budget, Counts, Dispatcher, Step
from tunemill.journal import Journal, Mark, RequestState, Totals
from tunemill.model import JsonObject, Picodollars, RunState
from tunemill.plan import Chain
from tunemill.statistics import JournalLevel, Money, RequestCounts, RunStatistics


class LiveFigures:
    """The figures of a run that this process works on. `take` is cheap enough to be called ten times a second.

    `dataset` and `fine_tune` are set by the later stages; `engine` while requests are being sent.
    """

    def __init__(
        self,
        *,
        run: str,
        totals: Totals,
        budget: Budget,
        clock: Clock,
        steps: tuple[Step, ...],
        baseline: Counts,
        simulated: bool,
        journal: Callable[[], JournalLevel] = JournalLevel,
    ) -> None:
        """`journal` says how its writer gets on."""
        self.state = RunState.IDLE
        self.reason = ""
        self.dataset: JsonObject | None = None
        self.fine_tune: JsonObject | None = None
        self.engine: Dispatcher | None = None
        self.training_expected: Picodollars = 0  # of a fine-tuning job that is still to be made
        self._run = run
        self._totals = totals
        self._budget = budget
        self._clock = clock
        self._steps = tuple(step.name for step in steps)
        self._chain = Chain.of(steps)
        self._expected: Mapping[str, Picodollars] = {}
        self._baseline = baseline
        self._simulated = simulated
        self._journal = journal
        self._began_at = clock.wall()
        self._started_with = totals.finished.total()
        self._started_at = clock.monotonic()

    def expect(self, costs: Mapping[str, Picodollars]) -> None:
        """What one answer of each step is expected to cost, until answers tell."""
        self._expected = costs

    def take(self) -> RunStatistics:
        """The figures now."""
        engine = self.engine
        counts, money = self._counts(), self._money()
        circuits = engine.circuits if engine else {}
        fit = rows_that_fit(self._rows, money)
        requests_rate, tokens_rate = engine.rates() if engine else (0.0, 0.0)
        return RunStatistics(
            run=self._run,
            state=self.state,
            reason=self.reason,
            grace_left_s=engine.grace_left_s() if engine else None,
            simulated=self._simulated,
            requests=counts,
            money=money,
            waiting_for=engine.waiting_for() if engine and counts.waiting else {},
            eta_s=self._eta_s(counts),
            requests_per_minute=requests_rate,
            tokens_per_minute=tokens_rate,
            finished=dict(self._totals.finished),
            attempts=dict(self._totals.attempts),
            tokens=dict(self._totals.tokens),
            limits=engine.levels() if engine else (),
            circuits_open=sum(circuits.values()),
            circuits=circuits,
            steps=self._steps,
            rows_beyond_budget=None if fit is None else self._rows - fit,
            last_answer_at=max(self._totals.last_at, self._began_at),
            journal=self._journal(),
            dataset=self.dataset,
            fine_tune=self.fine_tune,
        )

    def rested(self, seconds: float) -> None:
        """Nothing was sent for so long on purpose: it says nothing of how long the rest will take."""
        self._started_at += seconds

    def completed_of(self, steps: Collection[str]) -> int:
        """Answers to these steps."""
        return sum(self._totals.completed_of(step) for step in steps)

    @property
    def _rows(self) -> int:
        counts = self._baseline if self.engine is None else self.engine.counts
        return counts.planned // max(1, self._chain.requests_per_row)

    def _counts(self) -> RequestCounts:
        """While a resumed run's source is being walked again, what the journal has is not news: show it at once."""
        counts = self._baseline if self.engine is None else self.engine.counts
        if self.engine is None or self.engine.is_walked:
            completed, failed = counts.completed, counts.failed
        else:
            completed = max(counts.completed, self._baseline.completed)
            failed = min(max(counts.failed, self._baseline.failed), counts.planned - completed)
        in_flight = min(counts.in_flight, counts.planned - completed - failed)
        return RequestCounts(
            planned=counts.planned,
            completed=completed,
            failed=failed,
            waiting=counts.planned - completed - failed - in_flight,
            in_flight=in_flight,
        )

    def _money(self) -> Money:
        budget = self._budget
        return Money(
            settled=budget.settled,
            uncertain=budget.uncertain,
            reserved=budget.reserved,
            budget=budget.cap,
            forecast=self._forecast(),
        )

    def _forecast(self) -> Picodollars | None:
        """What is spent, the mean price of each step's answers (the plan's guess before the first) for the rest, and
        the training.

        What failed for good is not sent again.
        """
        counts = self._baseline if self.engine is None else self.engine.counts
        is_walked = self.engine is not None and self.engine.is_walked
        rows = self._rows
        forecast = self._budget.settled + self._budget.uncertain + self.training_expected
        for step, places in zip(self._steps, self._chain.counts, strict=True):
            done = max(counts.completed_by_step.get(step, 0), self._baseline.completed_by_step.get(step, 0))
            failed = counts.failed_by_step.get(step, 0)
            if not is_walked:
                failed = max(failed, self._baseline.failed_by_step.get(step, 0))
            left = max(0, rows * places - done - failed)
            answered = self._totals.completed_of(step)
            mean = self._totals.cost[step] / answered if answered else self._expected.get(step)
            if mean is None and left:
                return None
            forecast += round(left * (mean or 0))
        return forecast

    def _eta_s(self, counts: RequestCounts) -> float | None:
        done = self._totals.finished.total() - self._started_with  # what is tried again is not done
        elapsed = self._clock.monotonic() - self._started_at
        left = counts.waiting + counts.in_flight
        if self.state is not RunState.RUNNING or not left or not done or elapsed <= 0:
            return None
        return left * elapsed / done


def counts_on_record(journal: Journal, planned: int, steps: tuple[Step, ...], mark: Mark | None) -> Counts:
    """What the journal says of the places of the rows that are in the source, before anything is walked again.

    With a `mark`, how far the last process had come, and what was answered since: too few by the answers that rows
    under way had then. Else all places are counted, which takes seconds for a million.
    """
    settled = None if mark is None else settled_in(mark)
    if settled is None or mark is None:
        completed = min(planned, journal.index.slots_in(RequestState.COMPLETED))
        failed = min(planned - completed, journal.index.slots_in(RequestState.FAILED))
    else:
        failed = min(planned, settled.failed)
        completed = min(planned - failed, settled.completed + answers_since(mark, journal.totals.answers))
    by_step = {step.name: journal.totals.completed_of(step.name) for step in steps}
    failed_by_step = dict(settled.failed_by_step) if settled is not None else {}
    if len(steps) == 1:
        failed_by_step = {steps[0].name: failed}
    return Counts(
        planned=planned,
        completed=completed,
        failed=failed,
        completed_by_step=by_step,
        failed_by_step=failed_by_step,
    )


def figures_on_record(run: str, journal: Journal, *, is_running: bool, budget: Picodollars | None) -> RunStatistics:
    """The figures of a run that another process works on, or nobody."""
    totals = journal.totals
    opened = totals.opened
    planned = totals.rows * (opened.places if opened else 0)
    counts = counts_on_record(journal, planned, (), whole_mark(journal))
    in_flight = min(len(totals.unresolved), planned - counts.completed - counts.failed) if is_running else 0
    return RunStatistics(
        run=run,
        state=_state_on_record(totals, is_running=is_running),
        reason="" if is_running or totals.ended is None else totals.ended.reason,
        simulated=bool(opened and opened.simulated),
        requests=RequestCounts(
            planned=planned,
            completed=counts.completed,
            failed=counts.failed,
            waiting=planned - counts.completed - counts.failed - in_flight,
            in_flight=in_flight,
        ),
        money=_money_on_record(totals, is_running=is_running, budget=budget),
        finished=dict(totals.finished),
        attempts=dict(totals.attempts),
        tokens=dict(totals.tokens),
    )


def _state_on_record(totals: Totals, *, is_running: bool) -> RunState:
    if is_running:
        return RunState.RUNNING
    if totals.ended is not None:
        return RunState(totals.ended.state)
    return RunState.IDLE if totals.opened is None else RunState.INTERRUPTED


def _money_on_record(totals: Totals, *, is_running: bool, budget: Picodollars | None) -> Money:
    """After a crash, what was in flight is not reserved any more: it is uncertain."""
    return Money(
        settled=totals.settled,
        uncertain=totals.uncertain + (0 if is_running else totals.reserved),
        reserved=totals.reserved if is_running else 0,
        budget=budget,
        forecast=None,
    )


def with_stages(
    statistics: RunStatistics, *, dataset: JsonObject | None, fine_tune: JsonObject | None
) -> RunStatistics:
    """The figures with what the later stages left in the run folder."""
    return replace(statistics, dataset=dataset, fine_tune=fine_tune)
