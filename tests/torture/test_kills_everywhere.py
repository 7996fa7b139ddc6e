"""kill -9 at every moment that matters, then a plain resume, then a comparison with the run that was not interrupted.

A moment is before, in the middle of and after each write, before and after each fsync, rename, truncation, removal and
each piece of bytes that leaves through a socket, and after each that comes. In half of the cases the power goes at the
same moment: what was not fsynced is lost as well.
"""

from random import Random

import pytest
from tests.support.torture import Figures
from tests.torture.strikes import Plan, Point
from tests.torture.whole_run import KILLED, Bench, Case

IN_SHORT = 8
PARTS = 8
LONG_S = 3600


def killed_and_resumed(bench: Bench, point: Point, luck: Random, *, again: Point | None = None) -> int:
    """One case; how often it was killed. A point that this run does not come to is none: batches fall differently.

    `again` is where the process that resumes is killed as well.
    """
    case = bench.case()
    kills = _killed(case, case.plan(point, power_seed=_power(luck)))
    if again is not None:
        kills += _killed(case, case.plan(again, power_seed=_power(luck)))
    end = case.run()
    assert end.code == 0, (str(point), end)
    try:
        case.check(kills=kills)
    except AssertionError as error:
        raise AssertionError(f"killed {point}, then {again}, in {case.root}") from error
    return kills


def _killed(case: Case, plan: Plan) -> int:
    end = case.run(plan)
    assert end.code in {KILLED, 0}, (str(plan.point), end)
    return int(end.code == KILLED)


def _power(luck: Random) -> int | None:
    return luck.choice([None, luck.randrange(10**9)])


@pytest.mark.timeout(600)
def test_a_few_kills_spread_over_the_kinds(bench: Bench, torture_seed: int, figures: Figures) -> None:
    """Killed at points of eight different kinds, the run comes to the same files, job and books."""
    luck = Random(torture_seed)
    kinds = luck.sample(sorted({point.kind for point in bench.points}), IN_SHORT)
    killed = 0
    for kind in kinds:
        point = luck.choice([point for point in bench.points if point.kind == kind])
        killed += killed_and_resumed(bench, point, luck)
    figures.say(points=len(kinds), killed=killed)
    assert killed >= IN_SHORT // 2


@pytest.mark.torture
@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_point(bench: Bench, part: int, torture_seed: int, figures: Figures) -> None:
    """Every one of the hundreds of points of an uninterrupted run."""
    luck = Random(f"{torture_seed} {part}")
    mine = bench.points[part::PARTS]
    killed = sum(killed_and_resumed(bench, point, luck) for point in mine)
    figures.say(points=len(mine), killed=killed)
    assert killed >= len(mine) * 0.8


@pytest.mark.torture
@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize("part", range(PARTS // 2))
def test_killed_again_while_it_recovers(bench: Bench, part: int, torture_seed: int, figures: Figures) -> None:
    """The process that resumes is killed as well: at every kind of point that it has, after a kill somewhere before."""
    luck = Random(f"{torture_seed} again {part}")
    points = bench.points_of_recovery()
    mine = sorted({point.kind for point in points})[part :: PARTS // 2]
    killed = 0
    for kind in mine:
        again = luck.choice([point for point in points if point.kind == kind])
        killed += killed_and_resumed(bench, luck.choice(bench.points), luck, again=again)
    figures.say(cases=len(mine), killed=killed)
    assert killed >= len(mine) * 0.8
