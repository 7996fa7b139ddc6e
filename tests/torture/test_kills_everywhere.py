"""kill -9 at every moment that matters, then a plain resume, then a comparison with the run that was not interrupted.

A moment is before, in the middle of and after each write, before and after each fsync, rename, truncation, removal and
each piece of bytes that leaves through a socket, and after each that comes. In half of the cases the power goes at the
same moment: what was not fsynced is lost as well.
"""

from random import Random

import pytest
from tests.support.torture import Figures
from tests.torture.strikes import Plan, Point
from tests.torture.whole_run import IN_ONE_PLACE, Bench, Case

KILLED = -9
IN_SHORT = 12
PARTS = 8


def killed_and_resumed(bench: Bench, point: Point, luck: Random, *, again: bool = False) -> int:
    """One case; how often it was killed. A point that this run does not come to is none: batches fall differently.

    `again` kills the process that resumes, too, somewhere.
    """
    case = bench.case()
    kills = _killed(case, case.plan(point, power_seed=_power(luck)))
    if again:
        second = luck.choice(bench.points)
        kills += _killed(case, case.plan(second, power_seed=_power(luck)))
    end = case.run()
    assert end.code == 0, (str(point), end)
    try:
        case.check(kills=kills)
    except AssertionError as error:
        raise AssertionError(f"killed {point}, {'and again, ' if again else ''}in {case.root}") from error
    return kills


def _killed(case: Case, plan: Plan) -> int:
    end = case.run(plan)
    assert end.code in {KILLED, 0}, (str(plan.point), end)
    return int(end.code == KILLED)


def _power(luck: Random) -> int | None:
    return luck.choice([None, luck.randrange(10**9)])


@IN_ONE_PLACE
@pytest.mark.timeout(600)
def test_a_dozen_kills_spread_over_all_kinds(bench: Bench, torture_seed: int, figures: Figures) -> None:
    """Killed at points of a dozen different kinds, the run comes to the same files, job and books."""
    luck = Random(torture_seed)
    kinds = luck.sample(sorted({point.kind for point in bench.points}), IN_SHORT)
    killed = 0
    for kind in kinds:
        point = luck.choice([point for point in bench.points if point.kind == kind])
        killed += killed_and_resumed(bench, point, luck)
    figures.say(points=len(kinds), killed=killed)
    assert killed >= IN_SHORT // 2


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_point(bench: Bench, part: int, torture_seed: int, figures: Figures) -> None:
    """Every one of the hundreds; in a third of the cases the process that resumes is killed as well."""
    luck = Random(f"{torture_seed} {part}")
    mine = bench.points[part::PARTS]
    killed = sum(killed_and_resumed(bench, point, luck, again=luck.random() < 1 / 3) for point in mine)
    figures.say(points=len(mine), killed=killed)
    assert killed >= len(mine) * 0.8
