"""Finding a rate by being refused: what is measured, cut and grown, in plain numbers."""

import pytest

from tunemill.engine.search import BEGIN_SHARE, CUT_MOST, START_PER_S, RateSearch


def admitted(search: RateSearch, *, per_s: float, begin: float, until: float) -> tuple[float, float]:
    """Requests pass evenly; when the next one is due, and the total with it."""
    at = begin
    while at < until:
        search.took(at, 1.0)
        at += 1 / per_s
    return at, search.took(at, 1.0)


def test_the_start_doubles_until_something_is_refused() -> None:
    """Not by itself, but with what leaves; it ends where nothing ever is refused."""
    search = RateSearch(0.0, starting=True)
    assert search.per_minute(0.0) == search.per_minute(60.0) == START_PER_S * 60
    now, rates = 0.0, []
    while search.is_at_work:
        per_minute = search.per_minute(now)
        assert per_minute is not None
        rates.append(per_minute)
        now += 60 / per_minute
        search.took(now, 1.0)
    assert rates == sorted(rates)
    assert 2.0 < now < 5.0


def test_between_two_refusals_what_was_admitted_is_what_is_allowed() -> None:
    """Sixteen a second for five seconds: 960 a minute, from which it grows."""
    search = RateSearch(0.0, starting=True)
    at, total = admitted(search, per_s=40.0, begin=0.0, until=1.0)
    assert search.refused(sent_at=at, total=total, amount=1.0, in_force=None, now=at)
    begin = at
    at, total = admitted(search, per_s=16.0, begin=begin + 0.1, until=begin + 5.0)
    assert search.refused(sent_at=at, total=total, amount=1.0, in_force=None, now=at)
    assert search.per_minute(at) == pytest.approx(960 * BEGIN_SHARE, rel=0.1)
    rates = [search.per_minute(at + passed) or 0.0 for passed in range(20)]
    assert rates == sorted(rates)
    assert rates[-1] > 2 * rates[0]


def test_a_cut_is_made_once_and_not_too_deep() -> None:
    """What left before the last cut says nothing new; one episode leaves 60 % at least."""
    search = RateSearch(0.0, starting=True)
    at, total = admitted(search, per_s=100.0, begin=0.0, until=4.0)
    assert search.refused(sent_at=at, total=total, amount=1.0, in_force=100.0, now=at)
    assert not search.is_found  # taken for chance
    at, total = admitted(search, per_s=5.0, begin=at + 0.1, until=at + 3.0)
    assert search.refused(sent_at=at, total=total, amount=1.0, in_force=100.0, now=at)
    assert (search.per_minute(at) or 0.0) >= 100.0 * CUT_MOST * BEGIN_SHARE * 60
    assert not search.refused(sent_at=at - 0.05, total=total, amount=1.0, in_force=100.0, now=at + 0.1)


def test_what_nothing_refuses_any_more_is_let_go() -> None:
    """The growth has no end but one: no limit."""
    search = RateSearch(0.0, starting=False)
    at, total = admitted(search, per_s=50.0, begin=0.0, until=3.0)
    search.refused(sent_at=at, total=total, amount=1.0, in_force=None, now=at)
    assert search.is_found
    assert search.per_minute(at + 3600) is None
    assert not search.is_found
