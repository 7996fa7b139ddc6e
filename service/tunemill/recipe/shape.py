"""Which keys a recipe may have, section by section, and which kinds of values TOML has that a recipe has no use for."""

import math
from collections.abc import Iterator, Mapping
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from tunemill.errors import RecipeError
from tunemill.recipe.faults import key_at
from tunemill.recipe.sections import (
    BudgetSection,
    ChatTrain,
    CleanSection,
    CompletionTrain,
    FilesSource,
    FineTuneSection,
    GridSource,
    LimitsSection,
    ModelLimits,
    NotifySection,
    PreferenceTrain,
    PriceSection,
    ProviderSection,
    Recipe,
    RejectRule,
    ReplaceRule,
    Section,
    StepSection,
    TableSource,
)

Document: TypeAlias = dict[str, Any]  # as tomllib gives it: the border; `Recipe` is on the other side of it
KeyPath: TypeAlias = tuple[str | int, ...]

WHOLE_NUMBER_MAX = 2**63 - 1
SOURCES: Mapping[str, type[Section]] = {"grid": GridSource, "files": FilesSource, "table": TableSource}
TRAINS: Mapping[str, type[Section]] = {"chat": ChatTrain, "completion": CompletionTrain, "preference": PreferenceTrain}

# Where each section is. "*" stands for any name, "#" for any position in a list.
_SECTIONS: Mapping[tuple[str, ...], type[Section]] = {
    (): Recipe,
    ("provider",): ProviderSection,
    ("providers", "*"): ProviderSection,
    ("steps", "#"): StepSection,
    ("limits",): LimitsSection,
    ("limits", "models", "*"): ModelLimits,
    ("budget",): BudgetSection,
    ("pricing", "*"): PriceSection,
    ("clean",): CleanSection,
    ("clean", "replace", "#"): ReplaceRule,
    ("clean", "reject", "#"): RejectRule,
    ("fine_tune",): FineTuneSection,
    ("notify",): NotifySection,
}
# What people write who come from elsewhere, where no spelling is near.
_ELSEWHERE = {
    "epochs": "n_epochs",
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "timeout": "timeout_s",
    "max_retries": "attempts_max",
    "n": "samples",
    "api_base": "base_url",
    "events": "on",
}


def sections_in(document: Document) -> Iterator[tuple[KeyPath, Document]]:
    """Every table of the document that is a section, with its place."""
    return _sections_below(document, ())


def section_class(at: KeyPath, section: Document) -> type[Section] | None:
    """The class of the section at that place; None where there is none, or where its kind is not said rightly."""
    if at == ("source",):
        return _by_tag(SOURCES, section.get("kind"))
    if at == ("train",):
        return _by_tag(TRAINS, section.get("format", "chat"))
    return next((cls for pattern, cls in _SECTIONS.items() if _fits(pattern, at)), None)


def template_keys_at(at: KeyPath, section: Document) -> frozenset[str]:
    """The keys of this section that hold templates."""
    cls = section_class(at, section)
    return cls.template_keys if cls is not None else frozenset()


def faults_in_keys(document: Document, path: Path) -> Iterator[RecipeError]:
    """Every key that no section knows, with the nearest one that it does."""
    for at, section in sections_in(document):
        cls = section_class(at, section)
        if cls is None:
            continue  # the wrong kind is told as such
        known = _known_keys(cls)
        for key in section.keys() - known:
            yield RecipeError("unknown key", mend=_suggestion(key, at, known), file=path, key=key_at((*at, key)))


def faults_in_values(document: Document, path: Path) -> Iterator[RecipeError]:
    """Every value that TOML can write and JSON cannot."""
    return _odd_values(document, (), path)


def _sections_below(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, Document]]:
    if isinstance(value, dict):
        if section_class(at, value) is not None:
            yield at, value
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield from _sections_below(item, (*at, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict):
                yield from _sections_below(item, (*at, position))


def _by_tag(classes: Mapping[str, type[Section]], tag: object) -> type[Section] | None:
    return classes.get(tag) if isinstance(tag, str) else None


def _fits(pattern: tuple[str, ...], at: KeyPath) -> bool:
    return len(pattern) == len(at) and all(
        part == "*" or (part == "#" and isinstance(step, int)) or part == step
        for part, step in zip(pattern, at, strict=True)
    )


def _known_keys(cls: type[Section]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in cls.model_fields.items())


def _suggestion(key: str, at: KeyPath, known: frozenset[str]) -> str:
    if near := get_close_matches(key, sorted(known), n=1, cutoff=0.6):
        return f"did you mean {near[0]}?"
    if _ELSEWHERE.get(key) in known:
        return f"did you mean {_ELSEWHERE[key]}?"
    kinds = SOURCES if at == ("source",) else TRAINS if at == ("train",) else {}
    for kind, cls in kinds.items():
        if key in _known_keys(cls):
            return f'it belongs to {"kind" if at == ("source",) else "format"} = "{kind}"'
    if at[:1] == ("steps",):
        return f"known here: {', '.join(sorted(known))}; what is sent to the model stands in [steps.params]"
    return f"known here: {', '.join(sorted(known))}"


def _odd_values(value: Any, at: KeyPath, path: Path) -> Iterator[RecipeError]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _odd_values(item, (*at, key), path)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _odd_values(item, (*at, position), path)
    elif isinstance(value, date | time):
        mend = f'write it in quotes: "{value.isoformat()}"'
        yield RecipeError("is a date or a time, which JSON does not have", mend=mend, file=path, key=key_at(at))
    elif isinstance(value, float) and not math.isfinite(value):
        yield RecipeError("is no number", mend="write a finite number", file=path, key=key_at(at), value=value)
    elif isinstance(value, int) and abs(value) > WHOLE_NUMBER_MAX:
        mend = f"the largest whole number is {WHOLE_NUMBER_MAX}"
        yield RecipeError("is too large", mend=mend, file=path, key=key_at(at))
