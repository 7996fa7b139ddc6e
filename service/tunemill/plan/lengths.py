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
FILLER_BYTES_TOTAL = 200 * 2**20  # where answers may be very long, fewer rows are looked at
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
    recipe: Recipe, rows: Iterable[Row], prices: Mapping[str, Price | None], answers_mean: Mapping[str, float]
) -> Lengths:
    """Render every step for these rows. `prices` and `answers_mean` (mean output tokens seen so far) are by step."""
    output = {step.name: answers_mean.get(step.name) or output_tokens_expected(step) for step in recipe.steps}
    texts = _Texts.of(recipe, output)
    planner = Planner(recipe)
    tallies = [_Tally(step, prices[step.name]) for step in planner.steps]
    shown: list[ShownPrompt] = []
    unsendable: list[str] = []
    looked_at = 0
    for row in rows:
        looked_at += 1
        reason = next((reason for tally in tallies if (reason := tally.add(row, texts))), "")
        if reason:
            unsendable.append(reason)
        elif len(shown) < PROMPTS_SHOWN * len(tallies):
            shown += [_shown(tally.step, row, texts) for tally in tallies]
    bounds = [output_tokens_max(step.params) for step in recipe.steps]
    return Lengths(
        rows=looked_at,
        steps=tuple(
            tally.lengths(output[tally.step.name], bound) for tally, bound in zip(tallies, bounds, strict=True)
        ),
        prompts=tuple(shown),
        unsendable=tuple(unsendable),
        fillers=texts.expected,
    )


def rows_to_look_at(recipe: Recipe) -> int:
    """How many rows tell enough, so that a plan takes seconds also where answers may be very long."""
    longest = max((output_tokens_max(step.params) or OUTPUT_TOKENS_UNBOUNDED for step in recipe.steps), default=1)
    return max(min(ROWS_LOOKED_AT_MAX, FILLER_BYTES_TOTAL // (longest * BYTES_PER_TOKEN)), PROMPTS_SHOWN)


def output_tokens_expected(step: StepSection) -> float:
    """How many tokens an answer is taken to have before any has been seen."""
    bound = output_tokens_max(step.params)
    return OUTPUT_TOKENS_UNBOUNDED if bound is None else max(bound * OUTPUT_SHARE, 1)


def filler(tokens: float) -> str:
    """A text that counts as about so many tokens."""
    size = round(tokens * BYTES_PER_TOKEN)
    return (_FILLER * (size // len(_FILLER) + 1))[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """What stands in for the texts of earlier steps, by step: of expected length, as long as may be, and for show."""

    expected: Mapping[str, str]
    longest: Mapping[str, str]
    placeholders: Mapping[str, str]

    @classmethod
    def of(cls, recipe: Recipe, output: Mapping[str, float]) -> "_Texts":
        names = [step.name for step in recipe.steps]
        bounds = {step.name: output_tokens_max(step.params) or output[step.name] for step in recipe.steps}
        return cls(
            expected={name: filler(output[name]) for name in names},
            longest={name: filler(bounds[name]) for name in names},
            placeholders={name: f"[here stands the text of {name}]" for name in names},
        )


class _Tally:
    """Sums over the rows looked at, for one step."""

    __slots__ = ("_input_tokens", "_price", "_requests", "_seen", "_worst", "step")

    def __init__(self, step: StepRenderer, price: Price | None) -> None:
        self.step = step
        self._price = price
        self._requests = 0
        self._input_tokens = 0
        self._worst: int | None = 0
        self._seen: set[str] = set()

    def add(self, row: Row, texts: _Texts) -> str:
        """Count this row's first request. Returns why there is none, "" where there is one."""
        request = self.step.render(row, 0, texts.expected)
        largest = self.step.render(row, 0, texts.longest)
        if isinstance(request, Unsendable):
            return request.message
        self._requests += 1
        self._input_tokens += self.step.input_tokens_expected(request)
        self._seen.add(request.id)
        self._add_worst(request if isinstance(largest, Unsendable) else largest)
        return ""

    def lengths(self, output_tokens_mean: float, bound: int | None) -> StepLengths:
        many = max(self._requests, 1)
        return StepLengths(
            input_tokens_mean=self._input_tokens / many,
            output_tokens_mean=output_tokens_mean,
            output_tokens_max=bound,
            worst_mean=None if self._worst is None else self._worst / many,
            distinct=len(self._seen),
        )

    def _add_worst(self, request: Request) -> None:
        if self._price is None or request.output_tokens_max is None or self._worst is None:
            self._worst = None
        else:
            self._worst += self._price.worst(request.input_tokens_max, request.output_tokens_max)


def _shown(step: StepRenderer, row: Row, texts: _Texts) -> ShownPrompt:
    """A row's request as a person reads it."""
    request = step.render(row, 0, texts.placeholders)
    if isinstance(request, Unsendable):  # the placeholder is no such text as the template expects
        return ShownPrompt(row_id=row.id, step=step.name, system="", prompt=f"[{request.message}]")
    body = orjson.loads(request.body)
    by_role = {message["role"]: message["content"] for message in body.get("messages", ())}
    prompt = by_role.get("user", body.get("prompt", ""))
    return ShownPrompt(row_id=row.id, step=step.name, system=by_role.get("system", ""), prompt=prompt)
