"""How long requests and answers will be, from some of the rows.

At most `ROWS_LOOKED_AT_MAX` rows are looked at, spread over the source. The text of an earlier step is not known yet: a
filler of the expected length stands in for it, so that templates which cut long texts are estimated rightly.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from tunemill.model import Request, Row
from tunemill.plan.requests import Planner, StepRenderer, Unsendable, output_tokens_max
from tunemill.plan.values import ShownPrompt
from tunemill.pricing import Price
from tunemill.recipe.sections import Recipe, StepSection
from tunemill.templates import BYTES_PER_TOKEN

ROWS_LOOKED_AT_MAX = 2000
PROMPTS_SHOWN = 3
OUTPUT_SHARE = 0.5  # of max_tokens, where no answer has been seen
OUTPUT_TOKENS_UNBOUNDED = 500  # where nothing bounds the answer
_FILLER = "word "


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLengths:
    """One step's requests over the rows looked at. `worst` is the mean of their worst cost, in picodollars."""

    input_tokens_mean: float
    output_tokens_mean: float
    output_tokens_max: int | None
    worst_mean: float | None
    distinct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """What was seen. `unsendable` are those rows' messages, a row at most once."""

    rows: int
    steps: tuple[StepLengths, ...]
    prompts: tuple[ShownPrompt, ...]
    unsendable: tuple[str, ...]
    fillers: Mapping[str, str]


def lengths_of(
    recipe: Recipe,
    planner: Planner,
    rows: Iterable[Row],
    prices: Mapping[str, Price | None],
    answers_mean: Mapping[str, float],
) -> Lengths:
    """Render every step for these rows. `prices` and `answers_mean` (mean output tokens seen so far) are by step."""
    output = {step.name: answers_mean.get(step.name) or output_tokens_expected(step) for step in recipe.steps}
    fillers = {name: filler(tokens) for name, tokens in output.items()}
    longest = {step.name: filler(output_tokens_max(step.params) or output[step.name]) for step in recipe.steps}
    placeholders = {step.name: f"[here stands the text of {step.name}]" for step in recipe.steps}
    tallies = [_Tally() for _ in recipe.steps]
    prompts: list[ShownPrompt] = []
    unsendable: list[str] = []
    looked_at = 0
    for row in rows:
        looked_at += 1
        shown: list[ShownPrompt] = []
        for step, tally in zip(planner.steps, tallies, strict=True):
            request = step.render(row, 0, fillers)
            if isinstance(request, Unsendable):
                unsendable.append(request.message)
                break
            largest = step.render(row, 0, longest)
            tally.add(step, request, largest if isinstance(largest, Request) else request, prices[step.name])
            if len(prompts) < PROMPTS_SHOWN * len(planner.steps):
                shown.append(_shown(step.render(row, 0, placeholders), request))
        else:
            prompts.extend(shown)
    return Lengths(
        rows=looked_at,
        steps=tuple(
            tally.lengths(output[step.name], output_tokens_max(step.params))
            for step, tally in zip(recipe.steps, tallies, strict=True)
        ),
        prompts=tuple(prompts),
        unsendable=tuple(unsendable),
        fillers=fillers,
    )


def output_tokens_expected(step: StepSection) -> float:
    """How many tokens an answer is taken to have before any has been seen."""
    bound = output_tokens_max(step.params)
    return OUTPUT_TOKENS_UNBOUNDED if bound is None else max(bound * OUTPUT_SHARE, 1)


def filler(tokens: float) -> str:
    """A text that counts as about so many tokens."""
    size = round(tokens * BYTES_PER_TOKEN)
    return (_FILLER * (size // len(_FILLER) + 1))[:size]


class _Tally:
    """Sums over the rows looked at, for one step."""

    __slots__ = ("_input_tokens", "_requests", "_seen", "_worst")

    def __init__(self) -> None:
        self._requests = 0
        self._input_tokens = 0
        self._worst: int | None = 0
        self._seen: set[str] = set()

    def add(self, step: StepRenderer, request: Request, largest: Request, price: Price | None) -> None:
        self._requests += 1
        self._input_tokens += step.input_tokens_expected(request)
        self._seen.add(request.id)
        if price is None or largest.output_tokens_max is None or self._worst is None:
            self._worst = None
        else:
            self._worst += price.worst(largest.input_tokens_max, largest.output_tokens_max)

    def lengths(self, output_tokens_mean: float, bound: int | None) -> StepLengths:
        many = max(self._requests, 1)
        return StepLengths(
            input_tokens_mean=self._input_tokens / many,
            output_tokens_mean=output_tokens_mean,
            output_tokens_max=bound,
            worst_mean=None if self._worst is None else self._worst / many,
            distinct=len(self._seen),
        )


def _shown(request: Request | Unsendable, otherwise: Request) -> ShownPrompt:
    """A request as a person reads it, `otherwise` where the placeholder does not fit the template."""
    chosen = request if isinstance(request, Request) else otherwise
    body = orjson.loads(chosen.body)
    texts = {message["role"]: message["content"] for message in body.get("messages", ())}
    return ShownPrompt(
        row_id=chosen.row_id,
        step=chosen.step,
        system=texts.get("system", ""),
        prompt=texts.get("user", body.get("prompt", "")),
    )
