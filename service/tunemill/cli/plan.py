"""`plan`: what a recipe will do, take and cost, on one screen."""

import os
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tunemill.app.planning import plan_recipe
from tunemill.cli.output import page, positive, print_json
from tunemill.model import Picodollars
from tunemill.plan import LanePlan, Plan, StepPlan
from tunemill.telemetry import dollars, duration, harmless

PROMPT_CHARS_SHOWN = 1200
_LIMIT_WORDS = {
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "concurrency": "concurrency",
}


def show_plan(recipe: Path, budget_usd: float | None, *, as_json: bool) -> None:
    """Print the plan."""
    positive("--budget", budget_usd)
    plan = plan_recipe(recipe, os.environ, budget_usd=budget_usd)
    if as_json:
        print_json(plan.to_json())
        return
    console = page()
    for number, shown in enumerate(plan.prompts, 1):
        console.print(
            Text(f"prompt {number} of {len(plan.prompts)}, step {shown.step}, row {shown.row_id[:8]}", "bold")
        )
        if shown.system:
            console.print(Text(f"system: {harmless(shown.system, chars_max=PROMPT_CHARS_SHOWN)}", "dim"))
        console.print(Text(harmless(shown.prompt, chars_max=PROMPT_CHARS_SHOWN).strip()))
        console.print()
    if plan.steps:
        console.print(_steps(plan))
        console.print()
    for label, text in _lines(plan):
        console.print(f"{label:<10} {text}", soft_wrap=True)
    for text in plan.assumptions:
        console.print(Text(f"assumed    {text}", "dim"), soft_wrap=True)
    for text in plan.warnings:
        console.print(Text(f"warning    {text}", "yellow"), soft_wrap=True)


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
    yield "rows", f"{plan.rows:,}" + (f" ({plan.rows_looked_at:,} looked at)" if plan.rows_looked_at else "")
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


def _binding(lane: LanePlan) -> str:
    return f"what binds at {lane.lane.model} is {_LIMIT_WORDS.get(lane.binds, lane.binds)}"


def _dollars(amount: Picodollars | None) -> str:
    return "not known" if amount is None else dollars(amount)
