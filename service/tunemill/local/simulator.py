"""The simulator's backend: pseudo-prose after a wait. Text, usage and length depend on the seed and the body alone."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson

from tunemill.local.answers import FINGERPRINT_SIMULATOR, Answer, Choice
from tunemill.local.backend import Gone
from tunemill.local.calls import CHARACTERS_PER_TOKEN, Call, tokens_in
from tunemill.local.chance import Chance
from tunemill.local.controls import Controls
from tunemill.local.missing import BackendMissing
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
    texts: Sequence[str] = ()  # to answer with instead of inventing
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
        return compose(call, body_chance, settings.output_tokens, int(self.wall()), self.texts)

    def close(self) -> None:
        """Nothing is held."""


def read_texts(path: Path) -> tuple[str, ...]:
    """The texts in a file that has a JSON string on each line. Raises BackendMissing, saying what is wrong with it."""
    try:
        texts = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise BackendMissing(f"--texts {path}: cannot be read ({error.strerror})") from error
    except orjson.JSONDecodeError:
        texts = []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BackendMissing(f"--texts {path}: must have a JSON string on each line")
    return tuple(texts)


def compose(call: Call, chance: Chance, output_tokens: int, created: int, texts: Sequence[str] = ()) -> Answer:
    """The simulated answer: a pure function of its arguments. Lengths centre on `output_tokens`, within the bound.

    Where there are `texts` it is one of them, as it is or cut off at the bound.
    """
    dice = chance.dice(b"text")
    count = call.choices * call.prompts
    return Answer(
        id=f"{'chatcmpl' if call.endpoint.name == 'CHAT' else 'cmpl'}-sim{dice.getrandbits(80):020x}",
        model=call.model,
        fingerprint=FINGERPRINT_SIMULATOR,
        created=created,
        choices=tuple(
            _given(call, dice.choice(texts)) if texts else _choice(call, dice, output_tokens) for _ in range(count)
        ),
        input_tokens=call.prompt_tokens,
    )


def _choice(call: Call, dice: Random, output_tokens: int) -> Choice:
    length = max(1, round(output_tokens * math.exp(dice.gauss(0, _LENGTH_SIGMA))))
    if call.output_tokens_max is not None:
        length = min(length, call.output_tokens_max)
    text = _stopped(write(dice, length * CHARACTERS_PER_TOKEN), call.stop)
    return Choice(text=text, finish_reason="stop", tokens=tokens_in(len(text)))


def _given(call: Call, text: str) -> Choice:
    stopped = _stopped(text, call.stop)
    most = None if call.output_tokens_max is None else call.output_tokens_max * CHARACTERS_PER_TOKEN
    if most is not None and len(stopped) > most:
        return Choice(text=stopped[:most], finish_reason="length", tokens=tokens_in(most))
    return Choice(text=stopped, finish_reason="stop", tokens=tokens_in(len(stopped)))


def _stopped(text: str, stop: Sequence[str]) -> str:
    ends = [end for mark in stop if mark and (end := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text
