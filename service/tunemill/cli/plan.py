"""`plan`: what a recipe will do, take and cost, on one screen."""

import os
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tunemill.app.planning import plan_recipe
from tunemill.cli.notify import notify_words
from tunemill.cli.output import page, print_json, print_pairs
from tunemill.model import Picodollars
from tunemill.plan import LanePlan, Plan, ShownPrompt, StepPlan
from tunemill.recipe import load_recipe
from tunemill.telemetry import dollars, duration, harmless

PROMPT_CHARS_SHOWN = 1200
_LIMIT_WORDS = {
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "concurrency": "concurrency",
}


def show_plan(recipe: Path, budget_usd: float | None, *, as_json: bool) -> None:
    """Print the plan."""
    plan = plan_recipe(recipe, os.environ, budget_usd=budget_usd)
    told = list(notify_words(load_recipe(recipe).recipe, os.environ))
    if as_json:
        print_json({**plan.to_json(), "notifies": told})
        return
    console = page()
    for number, shown in enumerate(plan.prompts, 1):
        for text in _prompt(shown, f"prompt {number} of {len(plan.prompts)}"):
            console.print(text, soft_wrap=not console.is_terminal)
    if plan.steps:
        console.print(_steps(plan), soft_wrap=not console.is_terminal)
        console.print()
    print_pairs([*_lines(plan), *(("notifies", each) for each in told)])


def _prompt(shown: ShownPrompt, number: str) -> Iterator[Text]:
    yield Text(f"{number}, step {shown.step}, row {shown.row_id[:8]}", "bold")
    if shown.system:
        yield Text(f"system: {_excerpt(shown.system)}", "dim")
    yield Text(_excerpt(shown.prompt))
    yield Text("")


def _excerpt(text: str) -> str:
    text = text.strip()
    left_out = len(text) - PROMPT_CHARS_SHOWN
    shown = harmless(text, chars_max=PROMPT_CHARS_SHOWN)
    return f"{shown} [... {left_out:,} more characters]" if left_out > 0 else shown


def _steps(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("step", "model"):
        table.add_column(heading)
    for heading in ("requests", "tokens in", "tokens out", "expected", "worst case"):
        table.add_column(heading, justify="right")
    for step in plan.steps:
        table.add_row(*_step_cells(step))
    return table


def _step_cells(step: StepPlan) -> tuple[str, ...]:
    return (
        step.name,
        step.lane.model,
        f"{step.remaining:,}",
        f"{step.input_tokens_mean:,.0f} each",
        f"{step.output_tokens_mean:,.0f} each",
        _dollars(step.expected),
        _dollars(step.worst),
    )


def _lines(plan: Plan) -> Iterator[tuple[str, str]]:
    done = sum(step.completed for step in plan.steps)
    yield "rows", f"{plan.rows:,}" + (f" ({plan.rows_looked_at:,} looked at)" if _is_estimate(plan) else "")
    yield "requests", f"{plan.requests:,}" + (f", {done:,} of them done" if done else "")
    yield "dollars", f"{_dollars(plan.expected)} expected, {_dollars(plan.worst)} at worst"
    if plan.training is not None:
        training = plan.training
        yield (
            "training",
            f"{_dollars(training.cost)} for {training.examples:,} examples, {training.tokens:,} tokens x "
            f"{training.epochs} epochs on {training.model}",
        )
    if plan.budget is not None:
        verdict = "covers it" if plan.budget.covers_plan else f"covers about {plan.budget.rows_covered:,} rows"
        yield "budget", f"{dollars(plan.budget.budget)}: {verdict}"
    if plan.lanes:
        yield "time", f"about {duration(plan.seconds)}; " + "; ".join(_binding(lane) for lane in plan.lanes)
    yield from (("assumed", text) for text in plan.assumptions)
    yield from (("warning", text) for text in plan.warnings)


def _is_estimate(plan: Plan) -> bool:
    return 0 < plan.rows_looked_at < plan.rows


def _binding(lane: LanePlan) -> str:
    return f"what binds at {lane.lane.model} is {_LIMIT_WORDS.get(lane.binds, lane.binds)}"


def _dollars(amount: Picodollars | None) -> str:
    return "not known" if amount is None else dollars(amount)
