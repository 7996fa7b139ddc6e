"""The simulator's backend: pseudo-prose after a wait. Text, usage and length depend on the seed and the body alone."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tunemill.local.answers import FINGERPRINT_SIMULATOR, Answer, Choice
from tunemill.local.backend import Gone
from tunemill.local.calls import CHARACTERS_PER_TOKEN, Call, tokens_in
from tunemill.local.chance import Chance
from tunemill.local.controls import Controls
from tunemill.local.models import LISTED_MODELS
from tunemill.local.prose import write
from tunemill.local.replies import Reply

_LENGTH_SIGMA = 0.4  # of the log-normal distribution of lengths: most lie within a factor of two


@dataclass(frozen=True, slots=True)
class SimulatorBackend:
    """Answers every model. `wall` gives seconds since 1970 for the `created` field."""

    controls: Controls
    wall: Callable[[], float] = time.time
    name: str = "simulator"
    default_model: str = "gpt-4o-mini"
    models: Sequence[str] = LISTED_MODELS

    async def produce(self, call: Call, *, body_chance: Chance, draw_chance: Chance, gone: Gone) -> Answer | Reply:
        """The answer, after the latency. A client that leaves meanwhile does not stop it, and pays for it."""
        del gone
        settings = self.controls.settings
        latency_s = settings.latency_s
        if latency_s > 0:
            if settings.latency_sigma > 0:
                latency_s *= draw_chance.dice(b"latency").lognormvariate(0, settings.latency_sigma)
            await asyncio.sleep(latency_s)
        return compose(call, body_chance, settings.output_tokens, int(self.wall()))

    def close(self) -> None:
        """Nothing is held."""


def compose(call: Call, chance: Chance, output_tokens: int, created: int) -> Answer:
    """The simulated answer: a pure function of its arguments. Lengths centre on `output_tokens`, within the bound."""
    dice = chance.dice(b"text")
    count = call.choices * call.prompts
    return Answer(
        id=f"{'chatcmpl' if call.endpoint.name == 'CHAT' else 'cmpl'}-sim{dice.getrandbits(80):020x}",
        model=call.model,
        fingerprint=FINGERPRINT_SIMULATOR,
        created=created,
        choices=tuple(_choice(call, dice, output_tokens) for _ in range(count)),
        input_tokens=call.prompt_tokens,
    )


def _choice(call: Call, dice: Random, output_tokens: int) -> Choice:
    length = max(1, round(output_tokens * math.exp(dice.gauss(0, _LENGTH_SIGMA))))
    if call.output_tokens_max is not None:
        length = min(length, call.output_tokens_max)
    text = _stopped(write(dice, length * CHARACTERS_PER_TOKEN), call.stop)
    return Choice(text=text, finish_reason="stop", tokens=tokens_in(len(text)))


def _stopped(text: str, stop: Sequence[str]) -> str:
    ends = [end for mark in stop if mark and (end := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text
