"""Limits that are known, against the embedded server's own limiter: saturated, and hardly ever exceeded."""

import math
from collections.abc import Callable
from random import Random

import pytest
from tests.engine.limits_support import (
    Play,
    Scene,
    in_another_language,
    mixed,
    prompt_only,
    the_larger,
    the_sum,
    uniform,
)

from tunemill.engine.size import Size
from tunemill.local.limits import Limits

LATENCIES = [(0.2, 0.2), (1.0, 3.0), (15.0, 25.0)]
SIZES = {"uniform": uniform, "mixed": mixed}


def shares(scene: Scene, play: Play, since: float) -> float:
    """How much of the limit that binds was used: of requests or tokens, whichever is used more."""
    limits, books = scene.enforced, play.books
    return max(
        books.requests_per_minute(since, scene.seconds) / limits.requests_per_minute,
        books.tokens_per_minute(since, scene.seconds) / limits.tokens_per_minute,
    )


@pytest.mark.parametrize("latency_s", LATENCIES)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "limits",
    [
        Limits(requests_per_minute=500),
        Limits(requests_per_minute=1500),
        Limits(tokens_per_minute=1_000_000),
        Limits(requests_per_minute=1500, tokens_per_minute=900_000),
    ],
    ids=["few requests", "requests", "tokens", "both"],
)
def test_what_binds_is_used_up_and_nothing_is_refused(
    limits: Limits, sizes: str, latency_s: tuple[float, float]
) -> None:
    """At least 98 % of it, fewer than one refusal in a thousand, and no more in a second than a second and a half's."""
    scene = Scene(enforced=limits, configured=limits, sizes=SIZES[sizes], latency_s=latency_s, seconds=70.0)
    play = Play(scene, seed=1)
    books = play.run()
    assert shares(scene, play, since=10.0) >= 0.98
    assert books.refused_share() < 0.001
    if not math.isinf(limits.requests_per_minute):
        assert books.most_in_a_second() <= limits.requests_per_minute / 60 * 1.5 + 2


RULES = {
    "sum": the_sum,
    "larger": the_larger,
    "prompt only": prompt_only,
    "another language": in_another_language,
}


@pytest.mark.parametrize("latency_s", LATENCIES[:2])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_however_tokens_are_counted_the_limit_is_used_up(rule: str, sizes: str, latency_s: tuple[float, float]) -> None:
    """What the provider announces calibrates the estimate within seconds: neither head-room nor refusals are wasted."""
    limits = Limits(tokens_per_minute=1_500_000)
    scene = _counted(RULES[rule], limits, SIZES[sizes], latency_s)
    play = Play(scene, seed=2)
    books = play.run()
    assert shares(scene, play, since=15.0) >= 0.98
    assert books.refused_share(since=15.0) < 0.001
    assert books.refused_share() < 0.003


def _counted(
    rule: Callable[[Size], int], limits: Limits, sizes: Callable[[Random], Size], latency_s: tuple[float, float]
) -> Scene:
    return Scene(enforced=limits, configured=limits, sizes=sizes, counted=rule, latency_s=latency_s, seconds=60.0)


def test_what_is_given_back_afterwards_is_used_again() -> None:
    """A provider that counts what was really used, once it knows."""
    limits = Limits(tokens_per_minute=1_500_000)
    scene = Scene(
        enforced=limits,
        configured=limits,
        sizes=mixed,
        refunded=lambda size, random: int(random.random() * size.output_max),
        latency_s=(1.0, 3.0),
        seconds=90.0,
    )
    play = Play(scene, seed=3)
    books = play.run()
    assert shares(scene, play, since=30.0) >= 0.98
    assert books.refused_share() < 0.001


def test_requests_larger_than_a_seconds_worth_pass() -> None:
    """Each needs a full bucket, at the right moment; what is late then is lost. Few are early."""
    limits = Limits(tokens_per_minute=100_000)
    scene = Scene(enforced=limits, configured=limits, sizes=mixed, seconds=400.0)
    play = Play(scene, seed=4)
    books = play.run()
    assert shares(scene, play, since=10.0) >= 0.96
    assert books.refused_share() < 0.008


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(300))
def test_any_scene_of_known_limits(seed: int) -> None:
    """Limits, sizes, latencies, rules, disk and stalls drawn from the seed. What a provider counts is learned from its
    replies: a few times as long as they take is left for that."""
    draw = Random(f"known {seed}")
    limits = draw.choice(
        [
            Limits(requests_per_minute=draw.choice([300, 500, 3000, 10_000])),
            Limits(tokens_per_minute=draw.choice([600e3, 1e6, 4e6])),
        ]
    )
    scene = Scene(
        enforced=limits,
        configured=draw.choice([limits, Limits()]),
        sizes=draw.choice([uniform, mixed]),
        counted=draw.choice([the_sum, the_sum, the_larger]),
        latency_s=draw.choice(LATENCIES),
        disk_s=draw.choice([0.001, 0.006, 0.02]),
        concurrency=20_000,
        seconds=120.0,
    )
    play = Play(scene, seed)
    books = play.run()
    learned_s = max(40.0, 3 * scene.latency_s[1])
    assert shares(scene, play, since=learned_s) >= 0.975
    assert books.refused_share(since=learned_s) < 0.01
