"""The figures of a run while it works."""

from tests.engine.engine_support import World, failure_of, rows, step

from tunemill.app.figures import LiveFigures
from tunemill.engine import Counts
from tunemill.journal import Totals
from tunemill.model import Failure, FailureKind, Picodollars, Request

EXPECTED: Picodollars = 1_000_000_000


def figures_of(world: World, baseline: Counts) -> LiveFigures:
    figures = LiveFigures(
        run="world",
        totals=Totals(),
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
