"""Which limit it is that refuses, told from what passed and from whom it hits."""

from collections.abc import Callable
from random import Random

import pytest

from tunemill.engine.attribution import RANKS, Attribution
from tunemill.model import LimitedBy

SIZES = (350.0, 500.0, 1050.0, 3300.0)


def _told(random: Random, *, episodes: int, is_hit: Callable[[float, float], bool]) -> Attribution:
    """A request every two seconds, of one of four sizes. From time to time one is refused for which `is_hit` (the size
    of the one before it, its own) holds."""
    attribution, before, tokens, number = Attribution(), 0.0, 0.0, 0
    for _ in range(episodes):
        calm = random.randint(3, 20)
        while True:
            size = random.choice(SIZES)
            number, tokens, calm = number + 1, tokens + size, calm - 1
            attribution.left(size)
            is_refused = calm <= 0 and is_hit(before, size)
            before = size
            if is_refused:
                break
        attribution.refused(2.0 * number, number=number, requests=float(number), tokens=tokens)
    return attribution


@pytest.mark.parametrize("seed", range(20))
def test_what_refuses_large_ones_is_the_limit_of_tokens(seed: int) -> None:
    """Also where our own pace makes requests pass evenly, which at other times would prove the contrary."""
    attribution = _told(Random(seed), episodes=2 * RANKS, is_hit=lambda before, size: before + size > 6000)
    assert attribution.limited_by is LimitedBy.TOKENS


@pytest.mark.parametrize("seed", range(20))
def test_what_refuses_anybody_is_the_limit_of_requests(seed: int) -> None:
    """A few large ones among many are chance."""
    attribution = _told(Random(seed), episodes=40, is_hit=lambda before, size: True)
    assert attribution.limited_by is LimitedBy.REQUESTS


def test_where_all_are_alike_sizes_prove_nothing() -> None:
    """Whoever is refused is as large as everybody."""
    attribution = Attribution()
    for number in range(1, 100):
        attribution.left(400.0)
        if number % 5 == 0:
            attribution.refused(2.0 * number, number=number, requests=float(number), tokens=400.0 * number)
    assert attribution.limited_by is LimitedBy.REQUESTS


def test_what_left_long_ago_is_no_witness() -> None:
    """A refusal that comes after hundreds of others left says nothing of where it stood among them."""
    attribution = Attribution()
    for number in range(1, 1001):
        attribution.left(3300.0 if number <= 20 else 350.0)
    for number in range(1, 21):
        attribution.refused(1000.0 + number, number=number, requests=1000.0 + number, tokens=350.0 * number)
    assert attribution.limited_by is LimitedBy.REQUESTS


def test_the_limit_that_passes_evenly_is_the_one_that_binds() -> None:
    """Requests until shown otherwise: episodes with even tokens and uneven requests show it, and the other way."""
    attribution = Attribution()
    at, requests, tokens = 0.0, 0.0, 0.0
    seen = [attribution.limited_by]
    for passed in (0, 30, 55, 20, 40):
        at, requests, tokens = at + 5, requests + passed, tokens + 5000
        attribution.refused(at, number=0, requests=requests, tokens=tokens)
    seen.append(attribution.limited_by)
    for passed in (2000, 9000, 5000, 7000, 3000, 8000, 4000):
        at, requests, tokens = at + 5, requests + 40, tokens + passed
        attribution.refused(at, number=0, requests=requests, tokens=tokens)
    seen.append(attribution.limited_by)
    assert seen == [LimitedBy.REQUESTS, LimitedBy.TOKENS, LimitedBy.REQUESTS]
