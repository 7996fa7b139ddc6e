"""Limits that nobody announces, that change, or that somebody else uses, too: found, followed, and no storm."""

from dataclasses import replace
from random import Random

import pytest
from tests.engine.limits_support import Play, Scene, mixed, uniform

from tunemill.local.limits import NO_LIMITS, Limits
from tunemill.model import LimitHints

SECONDS = 90.0


def requests(per_minute: float) -> Limits:
    return Limits(requests_per_minute=per_minute)


def tokens(per_minute: float) -> Limits:
    return Limits(tokens_per_minute=per_minute)


def used(play: Play, limits: Limits, since: float, until: float) -> float:
    """The part of the limits that was used between two moments."""
    of_requests = play.books.requests_per_minute(since, until) / limits.requests_per_minute
    return max(of_requests, play.books.tokens_per_minute(since, until) / limits.tokens_per_minute)


@pytest.mark.parametrize("latency_s", [(0.2, 0.2), (15.0, 25.0)])
@pytest.mark.parametrize("with_kind", [True, False])
@pytest.mark.parametrize("limits", [requests(600), requests(3000), tokens(2e6)], ids=["few", "requests", "tokens"])
def test_without_headers_the_limit_is_found(limits: Limits, with_kind: bool, latency_s: tuple[float, float]) -> None:
    """Whether or not a refusal names it: at least 85 % over the second half, and at most 2 % refused."""
    scene = Scene(
        enforced=limits, sizes=mixed, latency_s=latency_s, with_headers=False, with_kind=with_kind, seconds=SECONDS
    )
    play = Play(scene, seed=1)
    books = play.run()
    assert used(play, limits, SECONDS / 2, SECONDS) >= 0.85
    assert books.refused_share() <= 0.02


@pytest.mark.parametrize("latency_s", [(0.2, 0.2), (1.0, 3.0)])
def test_what_headers_announce_is_known_within_seconds(latency_s: tuple[float, float]) -> None:
    """With nothing in the recipe: used up from the fifth second on, and then as good as never exceeded."""
    limits = Limits(requests_per_minute=3000, tokens_per_minute=2e6)
    scene = Scene(enforced=limits, sizes=uniform, latency_s=latency_s, seconds=40.0)
    play = Play(scene, seed=2)
    books = play.run()
    assert used(play, limits, 5.0, 40.0) >= 0.98
    assert books.refused_share(since=5.0) < 0.001
    assert "announced" in play.causes


CHANGES = {
    "requests halved": (requests(3000), requests(1500)),
    "requests doubled": (requests(1500), requests(3000)),
    "tokens halved": (tokens(2e6), tokens(1e6)),
    "tokens doubled": (tokens(1e6), tokens(2e6)),
}


@pytest.mark.parametrize("with_headers", [True, False])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", range(2))
def test_a_limit_that_changes_is_followed_within_ten_seconds(change: str, with_headers: bool, seed: int) -> None:
    """Nothing in the recipe. From ten seconds after, 85 % of it are used; hardly anything is refused on the way."""
    before, after = CHANGES[change]
    scene = Scene(
        enforced=before,
        changes=[(40.0, after)],
        sizes=mixed,
        with_headers=with_headers,
        latency_s=(0.5, 1.5),
        seconds=70.0,
    )
    play = Play(scene, seed)
    books = play.run()
    assert used(play, before, 25.0, 40.0) >= 0.85
    assert used(play, after, 50.0, 60.0) >= 0.85
    assert used(play, after, 60.0, 70.0) >= 0.85
    assert sum(40.0 <= at < 50.0 for at in books.refused) <= 25
    assert books.refused_share() <= 0.02


@pytest.mark.parametrize("configured", [True, False], ids=["in the recipe", "unknown"])
@pytest.mark.parametrize("with_headers", [True, False])
def test_somebody_else_takes_half_and_goes_again(configured: bool, with_headers: bool) -> None:
    """The other half is used up within ten seconds, and the whole again within ten seconds of their going."""
    limits = requests(3000)
    scene = Scene(
        enforced=limits,
        configured=limits if configured else NO_LIMITS,
        sizes=uniform,
        with_headers=with_headers,
        other=lambda passed_s: 0.5 if 30 <= passed_s < 60 else 0.0,
        seconds=90.0,
    )
    play = Play(scene, seed=4)
    books = play.run()
    assert used(play, requests(1500), 40.0, 60.0) >= 0.85
    assert used(play, limits, 70.0, 90.0) >= 0.9
    assert sum(30.0 <= at < 40.0 for at in books.refused) <= 25
    assert books.refused_share() <= 0.01


def test_a_limit_in_the_recipe_that_is_too_high_makes_no_storm() -> None:
    """Three times what is really allowed, and nobody says so: what is allowed is found beneath it."""
    scene = Scene(
        enforced=requests(1000), configured=requests(3000), sizes=uniform, with_headers=False, seconds=SECONDS
    )
    play = Play(scene, seed=5)
    books = play.run()
    assert used(play, requests(1000), SECONDS / 2, SECONDS) >= 0.85
    assert books.refused_share() <= 0.02


@pytest.mark.parametrize("constant", [0, 16, 10**9])
def test_headers_that_never_change_do_no_harm(constant: int) -> None:
    """A gateway that always says the same remains: the limit is kept all the same."""
    limits = tokens(1e6)
    scene = Scene(
        enforced=limits,
        configured=limits,
        sizes=mixed,
        headers=lambda hints, random: _with_remaining(hints, constant),
        seconds=60.0,
    )
    play = Play(scene, seed=6)
    books = play.run()
    assert used(play, limits, 10.0, 60.0) >= 0.98
    assert books.refused_share() < 0.001


def test_headers_that_are_drawn_by_lot_do_little_harm() -> None:
    """What remains is any number: the limit is nearly kept, nearly used up, and nothing breaks."""
    limits = tokens(1e6)
    scene = Scene(
        enforced=limits,
        configured=limits,
        sizes=mixed,
        headers=lambda hints, random: _with_remaining(hints, random.randint(0, 10**6)),
        seconds=60.0,
    )
    play = Play(scene, seed=7)
    books = play.run()
    assert used(play, limits, 10.0, 60.0) >= 0.9
    assert books.refused_share() < 0.02


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(300))
def test_any_scene_of_unknown_limits(seed: int) -> None:
    """Limits from five requests a second to five hundred, latencies, with and without kinds, from the seed."""
    draw = Random(f"unknown {seed}")
    limits = draw.choice([requests(draw.choice([300, 1000, 3000, 30_000])), tokens(draw.choice([1e6, 3e6]))])
    scene = Scene(
        enforced=limits,
        sizes=draw.choice([uniform, mixed]),
        latency_s=draw.choice([(0.2, 0.2), (1.0, 3.0), (15.0, 25.0)]),
        concurrency=20_000,
        with_headers=False,
        with_kind=draw.random() < 0.5,
        seconds=120.0,
    )
    play = Play(scene, seed)
    books = play.run()
    assert used(play, limits, 60.0, 120.0) >= 0.85
    assert books.refused_share() <= 0.025


def _with_remaining(hints: LimitHints, remaining: int) -> LimitHints:
    return replace(hints, tokens_remaining=remaining)
