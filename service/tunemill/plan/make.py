"""Making a plan: what a recipe would take, before anything is sent. Spends nothing and knows no time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from tunemill.errors import RecipeError
from tunemill.model import Lane, Picodollars, Row, Usage, picodollars
from tunemill.plan.advice import assumptions_of, warnings_of
from tunemill.plan.chain import Chain
from tunemill.plan.lengths import Lengths, StepLengths, lengths_of, rows_to_look_at
from tunemill.plan.pace import lanes_of, seconds_of
from tunemill.plan.prices import base_urls_of, price_in, prices_of_steps
from tunemill.plan.training import training_of
from tunemill.plan.values import BudgetPlan, Plan, StepPlan, TrainingPlan
from tunemill.pricing import Price
from tunemill.recipe import LoadedRecipe, Recipe, check_templates_against, check_under_budget
from tunemill.recipe.sections import StepSection
from tunemill.sources import Source, open_source

ROWS_FOR_TRAINING_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """What a run of this recipe has done in one step: requests completed, and the mean output tokens of its answers
    (0 where none has been seen)."""

    completed: int = 0
    output_tokens_mean: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a plan depends on beside the recipe.

    `budget` overrides the recipe's; `limit` is the pilot's number of rows; `so_far` is by step name, and `spent` what
    the run has settled; `base_urls` are all providers' addresses by name, where the environment says other ones.
    """

    budget: Picodollars | None = None
    limit: int | None = None
    so_far: Mapping[str, SoFar] = field(default_factory=dict)
    spent: Picodollars = 0
    base_urls: Mapping[str, str] = field(default_factory=dict)


def make_plan(loaded: LoadedRecipe, options: PlanOptions = PlanOptions()) -> Plan:
    """The plan. Opens the source and reads a table through once; looks at no more than `ROWS_LOOKED_AT_MAX` rows.

    Raises RecipeError (an unknown price under a budget, a name that no row has, no row that fits) or SourceError.
    """
    recipe = loaded.recipe
    source = open_source(recipe.source, loaded.folder, recipe=loaded.path)
    check_templates_against(loaded.recipe, loaded.path, source.fields)
    budget = _budget_in_force(loaded, options)
    urls = options.base_urls or base_urls_of(recipe)
    prices = prices_of_steps(recipe, urls, file=loaded.path, under_budget=budget is not None)
    rows = source.count() if options.limit is None else min(options.limit, source.count())
    lengths = lengths_of(
        recipe,
        _some_rows(source, rows, options, recipe),
        {step.name: prices[Lane(step.provider, step.model)] for step in recipe.steps},
        {name: done.output_tokens_mean for name, done in options.so_far.items()},
    )
    _check_some_fit(lengths, loaded)
    steps = _steps(recipe, rows, lengths, prices, options)
    some = islice(_some_rows(source, rows, options, recipe), ROWS_FOR_TRAINING_MAX)
    training = _training(recipe, rows, some, lengths.fillers, urls)
    money = None if budget is None else _budget(budget, options.spent, rows, steps, training)
    lanes = lanes_of(steps, recipe.limits)
    return Plan(
        recipe=recipe.name,
        rows=rows,
        rows_looked_at=lengths.rows,
        steps=steps,
        lanes=lanes,
        seconds=seconds_of(steps, lanes),
        budget=money,
        training=training,
        prompts=lengths.prompts,
        assumptions=tuple(assumptions_of(recipe, lengths, rows, steps, training)),
        warnings=tuple(warnings_of(recipe, rows, lengths, steps, money, training)),
    )


def _budget_in_force(loaded: LoadedRecipe, options: PlanOptions) -> Picodollars | None:
    if options.budget is not None:
        check_under_budget(loaded)
        return options.budget
    return None if loaded.recipe.budget is None else picodollars(loaded.recipe.budget.usd)


def _check_some_fit(lengths: Lengths, loaded: LoadedRecipe) -> None:
    if lengths.unsendable and len(lengths.unsendable) == lengths.rows:
        problem = f"no row fits its template ({lengths.unsendable[0]})"
        raise RecipeError(problem, mend="correct the template or the source", file=loaded.path, key="steps")


def _some_rows(source: Source, rows: int, options: PlanOptions, recipe: Recipe) -> Iterator[Row]:
    """The rows to look at: the first ones of a pilot, and otherwise some that are spread over the source."""
    if options.limit is not None:
        return islice(source.rows(), min(rows, rows_to_look_at(recipe)))
    return source.some(rows_to_look_at(recipe), recipe.source.seed)


def _steps(
    recipe: Recipe, rows: int, lengths: Lengths, prices: Mapping[Lane, Price | None], options: PlanOptions
) -> tuple[StepPlan, ...]:
    counts = Chain.of(recipe.steps).counts
    return tuple(
        _step(step, rows * count, seen, prices[Lane(step.provider, step.model)], options.so_far.get(step.name, SoFar()))
        for step, count, seen in zip(recipe.steps, counts, lengths.steps, strict=True)
    )


def _step(step: StepSection, requests: int, lengths: StepLengths, price: Price | None, done: SoFar) -> StepPlan:
    remaining = max(requests - done.completed, 0)
    each = None if price is None else price.cost(_usage(lengths))
    worst = None if lengths.worst_mean is None else round(lengths.worst_mean * remaining)
    return StepPlan(
        name=step.name,
        lane=Lane(step.provider, step.model),
        requests=requests,
        completed=min(done.completed, requests),
        input_tokens_mean=lengths.input_tokens_mean,
        output_tokens_mean=lengths.output_tokens_mean,
        output_tokens_max=lengths.output_tokens_max,
        expected=None if each is None else each * remaining,
        worst=worst,
        price=price,
    )


def _usage(lengths: StepLengths) -> Usage:
    return Usage(input=round(lengths.input_tokens_mean), output=round(lengths.output_tokens_mean))


def _training(
    recipe: Recipe, rows: int, some: Iterable[Row], fillers: Mapping[str, str], urls: Mapping[str, str]
) -> TrainingPlan | None:
    if recipe.fine_tune is None:
        return None
    price = price_in(recipe, Lane(recipe.fine_tune.provider, recipe.fine_tune.model), urls)
    return training_of(recipe, rows, some, fillers, price)


def _budget(
    budget: Picodollars, spent: Picodollars, rows: int, steps: tuple[StepPlan, ...], training: TrainingPlan | None
) -> BudgetPlan:
    expected = sum(step.expected or 0 for step in steps)
    cost_of_training = 0 if training is None or training.cost is None else training.cost
    left = max(budget - spent, 0)
    per_row = expected / rows if rows else 0
    covered = rows if per_row == 0 else min(rows, int(left / per_row))
    return BudgetPlan(budget=budget, spent=spent, covers_plan=expected + cost_of_training <= left, rows_covered=covered)
