"""Under a budget, every request's worst case must be known before it leaves: what a recipe may not leave open."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from tunemill.errors import RecipeError
from tunemill.recipe.faults import Fault
from tunemill.recipe.sections import Recipe, StepSection

# Parameters whose price is not in tokens of the named model, so that no bound on tokens bounds it.
_PRICED_OTHERWISE: Mapping[str, str] = {
    "web_search_options": "searches are billed beside the tokens",
    "prediction": "rejected predicted tokens are billed above max_tokens",
    "audio": "sound has prices of its own",
    "plugins": "plugins are billed beside the tokens",
    "models": "another model may answer, at another price",
}


def faults_in_money(recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    """What keeps a step's worst case from being known. It matters under a budget alone."""
    for position, step in enumerate(recipe.steps):
        key = f"steps[{position}].params"
        yield from _output_bound(step, key, fault)
        for name, reason in _PRICED_OTHERWISE.items():
            if name in step.params:
                mend = "remove it, or run without [budget]"
                yield fault(f"cannot be used under a budget: {reason}", mend=mend, key=f"{key}.{name}")
        for name, value in _priced_by_value(step.params):
            mend = "remove it, or run without [budget]"
            yield fault(
                "cannot be used under a budget: its price is another", mend=mend, key=f"{key}.{name}", value=value
            )


def _output_bound(step: StepSection, key: str, fault: Fault) -> Iterator[RecipeError]:
    names = ("max_tokens",) if step.endpoint == "completions" else ("max_tokens", "max_completion_tokens")
    if not any(name in step.params for name in names):
        problem = f"under a budget every step sets {' or '.join(names)}, and {step.name!r} sets none"
        yield fault(problem, mend="write max_tokens = 1000, say: it bounds what one answer can cost", key=key)


def _priced_by_value(params: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    if params.get("service_tier", "default") not in ("default", "flex"):
        yield "service_tier", params["service_tier"]
    if params.get("modalities", ["text"]) != ["text"]:
        yield "modalities", params["modalities"]
