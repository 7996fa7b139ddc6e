"""The figures of a run while it works."""

from tests.engine.engine_support import World, failure_of, rows, step

from tunemill.app.figures import LiveFigures
from tunemill.engine import Counts
from tunemill.journal import Totals
from tunemill.model import Failure, FailureKind, Picodollars, Request, RunState

EXPECTED: Picodollars = 1_000_000_000


def figures_of(world: World, baseline: Counts, totals: Totals | None = None) -> LiveFigures:
    figures = LiveFigures(
        run="world",
        totals=totals or Totals(),
        budget=world.budget,
        clock=world.clock,
        steps=world.steps,
        baseline=baseline,
        simulated=False,
    )
    figures.expect({of.name: EXPECTED for of in world.steps})
    return figures


async def test_what_failed_for_good_is_not_forecast() -> None:
    """Nor is what would have read it: when nothing is left to send, the forecast is what was spent."""
    world = World(steps=[step("a"), step("b", samples=3)])
    source = rows(12)

    def every_third_fails(request: Request, times: int) -> Failure | None:
        number = [row.id for row in source].index(request.row_id)
        return failure_of(FailureKind.BAD_REQUEST) if request.step == "a" and number % 3 == 0 else None

    world.provider.script = every_third_fails
    engine = world.open(source)
    figures = figures_of(world, Counts(planned=12 * 4))
    figures.engine = engine
    assert figures.take().money.forecast == 12 * 4 * EXPECTED
    await world.clock.run(engine.run(), each_turn=world.check_sums)
    assert engine.counts.failed_by_step == {"a": 4, "b": 12}
    assert figures.take().money.forecast == world.budget.settled + world.budget.uncertain


async def test_what_failed_before_this_process_is_not_forecast_either() -> None:
    """What is on record counts until the source was walked again; failed requests that are tried anew count again."""
    world = World()
    engine = world.open(rows(10))
    on_record = Counts(planned=10, completed=2, failed=3, completed_by_step={"plot": 2}, failed_by_step={"plot": 3})
    figures = figures_of(world, on_record)
    assert figures.take().money.forecast == 5 * EXPECTED
    figures.engine = engine
    assert figures.take().money.forecast == 5 * EXPECTED
    await world.clock.run(engine.run())
    assert engine.counts.failed == 0
    assert figures.take().money.forecast == world.budget.settled


async def test_training_that_is_still_to_come_is_forecast() -> None:
    """The budget has to cover it: answers alone would fit, and so many rows do not."""
    world = World(cap=10 * EXPECTED)
    world.open(rows(8))
    figures = figures_of(world, Counts(planned=8))
    assert (figures.take().money.forecast, figures.take().rows_beyond_budget) == (8 * EXPECTED, 0)
    figures.training_expected = 8 * EXPECTED
    assert (figures.take().money.forecast, figures.take().rows_beyond_budget) == (16 * EXPECTED, 3)


async def test_without_a_budget_it_is_not_known_that_all_rows_fit() -> None:
    """Unknown is not zero."""
    world = World()
    world.open(rows(8))
    assert figures_of(world, Counts(planned=8)).take().rows_beyond_budget is None


async def test_a_night_without_a_process_is_no_night_without_progress() -> None:
    """The last answer is the run's, or this process began after it."""
    world = World()
    engine = world.open(rows(3))
    totals, began = Totals(), world.clock.wall()
    totals.last_at = began - 8 * 3600
    figures = figures_of(world, Counts(planned=3), totals)
    assert figures.take().last_answer_at == began
    totals.last_at = began + 5
    assert figures.take().last_answer_at == began + 5
    assert figures.take().circuits == {}
    figures.engine = engine
    assert figures.take().circuits == {of.lane.model: False for of in world.steps}


async def test_what_is_tried_again_brings_the_end_no_nearer() -> None:
    """Ninety failed attempts and five answers in fifty seconds: ten seconds for each of the five that are left."""
    world = World()
    world.open(rows(10))
    totals = Totals()
    totals.finished["plot", "stop"] = 3  # an earlier process's
    figures = figures_of(world, Counts(planned=10, completed=5), totals)
    figures.state = RunState.RUNNING
    world.clock.advance(50)
    assert figures.take().eta_s is None
    totals.attempts["plot", "server_error"] += 90
    assert figures.take().eta_s is None
    totals.finished["plot", "stop"] += 5
    assert figures.take().eta_s == 50
