"""The one JSON shape of a run's figures."""

import orjson

from tunemill.model import RunState
from tunemill.statistics import Money, RequestCounts, RunStatistics, statistics_from

COUNTS = RequestCounts(planned=512, completed=200, failed=1, waiting=247, in_flight=64)


def statistics(money: Money) -> RunStatistics:
    return RunStatistics(
        run="movie-plots",
        state=RunState.RUNNING,
        reason="generating",
        simulated=False,
        requests=COUNTS,
        money=money,
        waiting_for={"requests_per_minute": 12},
        eta_s=340.04,
        requests_per_minute=498.24,
        tokens_per_minute=181000.4,
        tokens={("a", "input"): 41000, ("b", "input"): 200, ("a", "output"): 180500},
    )


def test_the_shape_is_the_documented_one() -> None:
    """As in the design page, key by key; dollars are numbers."""
    money = Money(
        settled=410_000_000_000, uncertain=2_000_000_000, reserved=50_000_000_000, budget=25 * 10**12, forecast=1
    )
    assert statistics(money).to_json() == {
        "run": "movie-plots",
        "state": "running",
        "reason": "generating",
        "grace_left_s": None,
        "simulated": False,
        "waiting_for": {"requests_per_minute": 12},
        "eta_s": 340.0,
        "requests": {"planned": 512, "completed": 200, "failed": 1, "waiting": 247, "in_flight": 64},
        "failures": {},
        "usd": {"settled": 0.41, "uncertain": 0.002, "reserved": 0.05, "budget": 25.0, "forecast": 1e-12},
        "tokens": {"input": 41200, "cached_input": 0, "output": 180500, "reasoning": 0},
        "rate": {"requests_per_minute": 498.2, "tokens_per_minute": 181000},
        "dataset": None,
        "fine_tune": None,
    }


def test_no_budget_is_null_and_not_zero() -> None:
    """What is not known is not zero; and the shape is JSON."""
    shape = statistics(Money(settled=0, uncertain=0, reserved=0, budget=None, forecast=None)).to_json()
    assert orjson.loads(orjson.dumps(shape))["usd"] == {
        "settled": 0.0,
        "uncertain": 0.0,
        "reserved": 0.0,
        "budget": None,
        "forecast": None,
    }


def test_the_shape_can_be_read_again() -> None:
    """Whoever asks a running process for it shows the same words as the process itself."""
    for budget in (None, 25 * 10**12):
        money = Money(settled=410_000_000_000, uncertain=2, reserved=0, budget=budget, forecast=budget)
        shape = orjson.loads(orjson.dumps(statistics(money).to_json()))
        assert statistics_from(shape).to_json() == statistics(money).to_json()
