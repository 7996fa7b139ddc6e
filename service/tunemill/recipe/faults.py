"""How a recipe's faults read: pydantic's findings as errors with key, value and mend, and several as one error."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunemill.errors import RecipeError

Fault: TypeAlias = Callable[..., RecipeError]  # RecipeError with the file filled in

_TAGGED = frozenset({"source", "train"})  # sections of several kinds
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TYPES: Mapping[str, tuple[str, str]] = {
    "string_type": ("a text", "write it in quotes"),
    "int_type": ("a whole number", "write it without quotes and without a point"),
    "int_from_float": ("a whole number", "write it without a point"),
    "float_type": ("a number", "write it without quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "list_type": ("a list", "write it in [brackets]"),
    "mapping_type": ("a table", "write it as a [table] with keys of its own"),
    "dict_type": ("a table", "write it as a [table] with keys of its own"),
    "model_type": ("a table", "write it as a [table] with keys of its own"),
    "model_attributes_type": ("a table", "write it as a [table] with keys of its own"),
}
_RANGES = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_RANGE_WORDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
# What a person is told where the general words would not help. "#" is any position in a list.
_MENDS: Mapping[str, str] = {
    "name": "use letters, digits, . _ and -, at most 64, starting with a letter or a digit",
    "steps": "write each step as [[steps]], with two brackets",
    "steps[#].name": "use small letters, digits and _, starting with a letter: later templates call it by this name",
    "steps[#].endpoint": 'write "chat", or "completions" for the older text endpoint',
    "clean.reject[#].name": "use small letters, digits and _, starting with a letter",
    "source": 'write one [source] table with kind = "grid", "files" or "table"',
    "source.axes": 'write [source.axes] with a list for each axis, such as genre = ["horror", "western"]',
    "source.paths": 'write a list of globs, such as ["stories/*.txt"]',
    "providers": 'write [providers.NAME] with a base_url, and provider = "NAME" where it is used',
    "budget": "write [budget] with usd = 25.00 below it",
}
_MISSING: Mapping[str, str] = {
    "name": 'write name = "my-run" at the top',
    "source": 'write a [source] table with kind = "grid", "files" or "table"',
    "train": 'write format = "chat", "completion" or "preference"',
    "source.axes": 'write [source.axes] with a list for each axis, such as genre = ["horror", "western"]',
    "source.paths": 'write a list of globs, such as paths = ["stories/*.txt"]',
    "source.path": 'write the name of a CSV, TSV or JSONL file, such as path = "episodes.csv"',
    "steps[#].name": 'give the step a name, such as name = "outline"',
    "steps[#].model": 'name the model that answers, such as model = "gpt-4o-mini"',
    "steps[#].prompt": "write prompt, or prompt_file with the name of a file beside the recipe",
    "budget.usd": "write usd = 25.00, or remove [budget]",
    "notify.webhook_env": 'name the variable that holds the address, such as webhook_env = "SLACK_WEBHOOK"',
    "fine_tune.model": 'name the model to tune, such as model = "gpt-4o-mini-2024-07-18"',
}


class RecipeFaults(RecipeError):
    """Several faults of one recipe, each on a line of the message; `faults` has them one by one."""

    def __init__(self, faults: Sequence[RecipeError]) -> None:
        first = faults[0]
        super().__init__(first.problem, mend=first.mend, file=first.file, line=first.line, key=first.key)
        self.faults = tuple(faults)
        self.args = ("\n".join(str(fault) for fault in faults),)

    @classmethod
    def of(cls, faults: Sequence[RecipeError]) -> RecipeError:
        """One fault as it is, several as one error, in the order of their keys."""
        return faults[0] if len(faults) == 1 else cls(sorted(faults, key=lambda fault: fault.key or ""))


def key_at(at: Sequence[str | int]) -> str:
    """A place in the recipe as a person writes it: `steps[0].params`, `pricing."my.model"`."""
    text = ""
    for part in at:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _written(part)
    return text


def _written(key: str) -> str:
    """A key as TOML needs it: bare where it may be, and otherwise quoted, with what cannot be seen escaped."""
    return key if _BARE_KEY.fullmatch(key) or key == "..." else json.dumps(key, ensure_ascii=not key.isprintable())


def faults_of_validation(error: ValidationError, document: Mapping[str, Any], path: Path) -> list[RecipeError]:
    """pydantic's findings, one for each key: the alternatives of one key are told together."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        by_key.setdefault(key_at(_place(details["loc"], document)), []).append(details)
    return [_fault(key, details, path) for key, details in by_key.items()]


def _place(loc: tuple[str | int, ...], document: Any) -> list[str | int]:
    """pydantic's place without the names of alternatives, which it mixes into the keys."""
    place: list[str | int] = []
    value = document
    for at, part in enumerate(loc):
        if at == 1 and loc[0] in _TAGGED:
            continue  # the kind, which pydantic puts here; "completion" is a key of [train] too
        is_missing_key = at == len(loc) - 1 and isinstance(value, dict)
        if _has(value, part):
            value = value[part]
        elif not is_missing_key:
            continue
        place.append(part)
    return place


def _has(value: object, part: str | int) -> bool:
    return (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int))


def _fault(key: str, findings: Sequence[ErrorDetails], path: Path) -> RecipeError:
    """One fault for one key. With several alternatives, a wrong range says more than a wrong type."""
    finding = next((finding for finding in findings if finding["type"] in _RANGES), findings[0])
    wanted = [_wanted(finding) for finding in findings]
    pattern = re.sub(r"\[\d+\]", "[#]", key)
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "missing":
        return RecipeError(
            "is missing", mend=_MISSING.get(pattern, f"write {key.rpartition('.')[2]} = ..."), file=path, key=key
        )
    if kind == "union_tag_not_found":
        tag = str(context["discriminator"]).strip("'")
        mend = _MISSING.get(key, f"write {tag} = ...")
        return RecipeError("is missing", mend=mend, file=path, key=f"{key}.{tag}")
    if kind == "union_tag_invalid":
        tag = str(context["discriminator"]).strip("'")
        mend = f"write {_either(re.findall(r'[a-z]+', str(context['expected_tags'])))}"
        return RecipeError(f"there is no such {tag}", mend=mend, file=path, key=f"{key}.{tag}", value=context["tag"])
    problem, mend = _problem(finding, wanted)
    return RecipeError(problem, mend=_MENDS.get(pattern, mend), file=path, key=key, value=finding["input"])


def _problem(finding: ErrorDetails, wanted: Sequence[str]) -> tuple[str, str]:
    """What is wrong and what to do, in general words."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind in _RANGES:
        bound = f"{_RANGE_WORDS[_RANGES[kind]]} {context[_RANGES[kind]]:g}"
        return f"must be {bound}", f"write a number that is {bound}" + (', or "auto"' if len(wanted) > 1 else "")
    if kind in _TYPES:
        mend = _TYPES[kind][1] if len(wanted) == 1 else f"write {' or '.join(wanted)}"
        return f"must be {' or '.join(wanted)}", mend
    if kind == "literal_error":
        return f"must be {' or '.join(wanted)}", f"write {' or '.join(wanted)}"
    if kind in ("string_too_short", "too_short"):
        return "is empty", "write something, or remove the key"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters", "shorten it"
    if kind == "string_pattern_mismatch":
        return "has characters that it may not have", f"it must match {context['pattern']}"
    return finding["msg"][:1].lower() + finding["msg"][1:], "correct the value"


def _wanted(finding: ErrorDetails) -> str:
    if finding["type"] == "literal_error":
        return _either(re.findall(r"'([^']*)'", str(finding.get("ctx", {})["expected"])))
    return _TYPES.get(finding["type"], ("a number", ""))[0]


def _either(words: Sequence[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
