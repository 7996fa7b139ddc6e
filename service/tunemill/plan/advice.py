"""What a person should know before spending: sentences, each with what to do."""

from collections.abc import Iterator

from tunemill.model import Picodollars, usd
from tunemill.plan.lengths import OUTPUT_SHARE, OUTPUT_TOKENS_UNBOUNDED, Lengths
from tunemill.plan.pace import FIRST_TOKEN_S, TOKENS_PER_SECOND
from tunemill.plan.training import EPOCHS_OF_AUTO
from tunemill.plan.values import BudgetPlan, StepPlan, TrainingPlan
from tunemill.recipe.sections import Recipe, StepSection
from tunemill.templates import BYTES_PER_TOKEN, Template

EXAMPLES_MIN = 10  # what OpenAI's fine-tuning API takes at least
EXAMPLES_ADVISED = 50


def warnings_of(
    recipe: Recipe, rows: int, lengths: Lengths, steps: tuple[StepPlan, ...], budget: BudgetPlan | None,
    training: TrainingPlan | None,
) -> Iterator[str]:  # fmt: skip
    """Every warning, the dearest mistake first."""
    yield from _about_prices(steps, budget, training)
    if budget is not None:
        yield from _about_budget(rows, steps, budget)
    yield from _about_rows(lengths, steps)
    for step in recipe.steps:
        yield from _about_step(step, recipe)
    if training is not None:
        yield from _about_training(recipe, training)


def assumptions_of(
    recipe: Recipe, lengths: Lengths, rows: int, steps: tuple[StepPlan, ...], training: TrainingPlan | None
) -> Iterator[str]:
    """What the figures rest on."""
    if lengths.rows < rows:
        yield f"Lengths are estimated from {lengths.rows:,} of {rows:,} rows."
    if steps:
        yield f"Tokens are estimated as UTF-8 bytes / {BYTES_PER_TOKEN}; the worst case counts every byte as one."
    if any(step.output_tokens_max is not None for step in steps):
        yield f"An answer is taken to have {OUTPUT_SHARE:.0%} of its max_tokens until answers have been seen."
    if any(step.output_tokens_max is None for step in steps):
        yield f"One without max_tokens is taken to have {OUTPUT_TOKENS_UNBOUNDED} tokens until answers have been seen."
    if steps:
        yield f"An answer is taken to need {FIRST_TOKEN_S} s and then 1 s for each {TOKENS_PER_SECOND:.0f} tokens."
    if training is not None:
        yield "Training assumes that every row is kept."
        if recipe.fine_tune is not None and recipe.fine_tune.n_epochs == "auto":
            yield f'n_epochs = "auto" is taken as {EPOCHS_OF_AUTO}: the target chooses.'


def _about_budget(rows: int, steps: tuple[StepPlan, ...], budget: BudgetPlan) -> Iterator[str]:
    left = max(budget.budget - budget.spent, 0)
    for step in steps:
        if step.worst is not None and step.remaining and step.worst > left * step.remaining:
            yield (
                f"One request of step {step.name!r} may cost {_dollars(step.worst // step.remaining)}, and "
                f"{_dollars(left)} are left: it will not be sent. Lower max_tokens, or raise the budget."
            )
    if not budget.covers_plan:
        yield (
            f"The budget of {_dollars(budget.budget)} covers about {budget.rows_covered:,} of {rows:,} rows at the "
            "expected cost; `run` stops there, and goes on from there when the budget is raised."
        )


def _about_prices(
    steps: tuple[StepPlan, ...], budget: BudgetPlan | None, training: TrainingPlan | None
) -> Iterator[str]:
    unknown = sorted({step.lane.model for step in steps if step.price is None})
    if unknown:
        yield f"No price is known for {', '.join(unknown)}: write [pricing] for it to see what this will cost."
    if steps and budget is None and not unknown:
        yield "There is no [budget]: nothing bounds what the run may spend."
    if training is not None and training.cost is None:
        yield (
            f"The price of training {training.model} is not known: it is in none of these figures. "
            "Write training_per_million in [pricing]."
        )


def _about_rows(lengths: Lengths, steps: tuple[StepPlan, ...]) -> Iterator[str]:
    if lengths.unsendable:
        share = f"{len(lengths.unsendable):,} of {lengths.rows:,} rows looked at"
        yield f"{share} do not fit a template and would fail: {lengths.unsendable[0]}."
    rendered = lengths.rows - len(lengths.unsendable)
    if steps and 0 < lengths.steps[0].distinct < rendered:
        same = rendered - lengths.steps[0].distinct
        yield (
            f"{same:,} of {rendered:,} rows looked at ask exactly what another row asks, and share its answer: "
            "write {{ entropy }} into the prompt to have one for each."
        )


def _about_step(step: StepSection, recipe: Recipe) -> Iterator[str]:
    if step.samples > 1 and (step.params.get("temperature") == 0 or "seed" in step.params):
        why = "temperature = 0" if step.params.get("temperature") == 0 else "a seed"
        if "entropy" not in _names(step.prompt) | _names(step.system) and "sample" not in _names(step.prompt):
            yield f"Step {step.name!r} asks {step.samples} times for the same answer: it has {why}."
    if recipe.train is not None and step.name not in _names_used(recipe):
        yield f"Nothing uses the text of step {step.name!r}: neither a later step nor [train]."


def _about_training(recipe: Recipe, training: TrainingPlan) -> Iterator[str]:
    if training.examples < EXAMPLES_MIN:
        yield f"At most {training.examples} examples to train on: a fine-tuning job needs at least {EXAMPLES_MIN}."
    elif training.examples < EXAMPLES_ADVISED:
        yield f"At most {training.examples} examples to train on: {EXAMPLES_ADVISED} or more are advised."
    if recipe.train is not None and recipe.train.validation_fraction == 0:
        yield "validation_fraction is 0: nothing is held out to evaluate the tuned model with."


def _names_used(recipe: Recipe) -> frozenset[str]:
    texts = [text for step in recipe.steps for text in (step.prompt, step.system)]
    if recipe.train is not None:
        texts += [getattr(recipe.train, key) for key in recipe.train.template_keys]
    return frozenset(name for text in texts for name in _names(text))


def _names(text: str | None) -> frozenset[str]:
    return frozenset() if text is None else Template.parse(text, key="").names


def _dollars(amount: Picodollars) -> str:
    """Two digits of cents, and of what is smaller."""
    dollars = usd(amount)
    return f"${dollars:,.2f}" if dollars >= 0.1 or not amount else f"${dollars:.2g}"
