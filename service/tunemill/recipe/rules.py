"""What no single value gets wrong, but two together, or a value and what it is sent to. Each rule yields its faults."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from tunemill.errors import RecipeError
from tunemill.recipe.faults import Fault, key_at
from tunemill.recipe.money import faults_in_money
from tunemill.recipe.sections import (
    ChatTrain,
    CleanSection,
    FineTuneSection,
    GridSource,
    PreferenceTrain,
    ProviderSection,
    Recipe,
    StepSection,
)
from tunemill.templates import BUILT_IN_NAMES

TOKENS_MAX = 10_000_000  # more than any model writes
RESERVED_RULE_NAMES = frozenset(
    {"empty", "finish_reason", "refusal", "content_filter", "too_short", "too_long", "duplicate", "upstream"}
)
# A step of one of these names could not be written as {{ name }}.
_TEMPLATE_WORDS = frozenset({"and", "else", "false", "if", "in", "is", "loop", "none", "not", "or", "self", "true"})
_PARAMS_OF_OURS: Mapping[str, str] = {
    "model": "write model = ... in the step itself",
    "messages": "write prompt and system in the step itself",
    "prompt": "write prompt in the step itself",
    "stream": "remove it: answers are read whole",
    "stream_options": "remove it: answers are read whole",
    "extra_body": "write its keys directly into [steps.params]: they are sent as they are",
}


def faults_in_rules(recipe: Recipe, path: Path) -> Iterator[RecipeError]:
    """Every rule of this file and of `money`, applied to the whole recipe."""
    fault: Fault = partial(RecipeError, file=path)
    yield from _purpose(recipe, fault)
    yield from _providers(recipe, fault)
    if isinstance(recipe.source, GridSource):
        yield from _axes(recipe.source, fault)
    yield from _step_names(recipe, fault)
    for position, step in enumerate(recipe.steps):
        yield from _step(step, f"steps[{position}]", recipe, fault)
    yield from _clean(recipe.clean, fault)
    if isinstance(recipe.train, ChatTrain):
        yield from _chat_train(recipe.train, fault)
    if recipe.fine_tune is not None:
        yield from _fine_tune(recipe.fine_tune, recipe, fault)
    if recipe.budget is not None:
        yield from faults_in_money(recipe, fault)


def _purpose(recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    if not recipe.steps and recipe.train is None:
        mend = "write a [[steps]] table, or [train] if the rows are examples already"
        yield fault("the recipe has neither steps nor [train], so there is nothing to do", mend=mend, key="steps")


def _providers(recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    yield from _provider(recipe.provider, "provider", fault)
    for name, provider in recipe.providers.items():
        key = key_at(("providers", name))
        yield from _provider(provider, key, fault)
        if not name:
            yield fault("a provider needs a name", mend="write [providers.NAME]", key=key)
        if provider.base_url is None:
            mend = 'write its address, such as base_url = "http://vllm.internal:8000/v1"'
            yield fault("is missing", mend=mend, key=f"{key}.base_url")


def _provider(provider: ProviderSection, key: str, fault: Fault) -> Iterator[RecipeError]:
    if not provider.api_key_env:
        mend = 'name the environment variable that holds the key, such as "OPENAI_API_KEY"'
        yield fault("is empty", mend=mend, key=f"{key}.api_key_env", value="")
    if provider.base_url is not None and (problem := problem_of_url(provider.base_url)):
        mend = 'write an address such as "https://api.openai.com/v1"'
        yield fault(problem, mend=mend, key=f"{key}.base_url", value=provider.base_url)


def problem_of_url(url: str) -> str:
    """What is wrong with the address; "" where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in ("http", "https"):
        return "does not start with http:// or https://"
    if not host or any(character.isspace() for character in url):
        return "names no host" if not host else "has a space in it"
    if parts.query or parts.fragment:
        return "has a query or a fragment"
    if parts.path.rstrip("/").endswith(("/chat/completions", "/completions")):
        return "names an endpoint, which is added to it"
    return ""


def _axes(source: GridSource, fault: Fault) -> Iterator[RecipeError]:
    if not source.axes:
        yield fault("a grid needs at least one axis", mend='write one, such as genre = ["horror"]', key="source.axes")
    for name, values in source.axes.items():
        key = key_at(("source", "axes", name))
        if not name or name in BUILT_IN_NAMES:
            mend = "call the axis something else"
            yield fault(
                "this name has a meaning of its own in templates" if name else "has no name", mend=mend, key=key
            )
        if not values:
            yield fault("the axis is empty", mend="give it at least one value, or remove it", key=key, value=[])
        if any(not isinstance(value, str | int | float) for value in values):
            mend = 'write texts, numbers, true or false, such as ["India", "France"]'
            odd = next(value for value in values if not isinstance(value, str | int | float))
            yield fault("is not a single value", mend=mend, key=key, value=odd)
            continue
        if twice := _first_repeated([orjson.dumps(value) for value in values]):
            yield fault("is there twice", mend="remove one of them", key=key, value=orjson.loads(twice))


def _first_repeated(items: list[bytes]) -> bytes:
    seen: set[bytes] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return b""


def _step_names(recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    seen: dict[str, int] = {}
    for position, step in enumerate(recipe.steps):
        key = f"steps[{position}].name"
        if step.name in seen:
            mend = "give each step a name of its own"
            yield fault(f"steps[{seen[step.name]}] has this name already", mend=mend, key=key, value=step.name)
        if step.name in BUILT_IN_NAMES | _TEMPLATE_WORDS:
            mend = "call the step something else"
            yield fault("this name has a meaning of its own in templates", mend=mend, key=key, value=step.name)
        seen.setdefault(step.name, position)


def _step(step: StepSection, key: str, recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    yield from _known_provider(step.provider, f"{key}.provider", recipe, fault)
    if step.endpoint == "completions" and step.system is not None:
        mend = "write it into prompt, or use the chat endpoint"
        yield fault("the completions endpoint takes no system prompt", mend=mend, key=f"{key}.system")
    if not step.prompt.strip():
        yield fault("is empty", mend="write what the model is asked", key=f"{key}.prompt", value=step.prompt)
    for name, mend in _PARAMS_OF_OURS.items():
        if name in step.params:
            yield fault("may not stand among the parameters", mend=mend, key=f"{key}.params.{name}")
    for name in ("n", "best_of"):
        if step.params.get(name, 1) != 1:
            problem = "several answers in one reply cannot be told apart when the run is resumed"
            mend = "remove it and write samples = N in the step itself"
            yield fault(problem, mend=mend, key=f"{key}.params.{name}", value=step.params[name])
    for name in ("max_tokens", "max_completion_tokens"):
        value = step.params.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= TOKENS_MAX:
            mend = f"write a whole number from 1 to {TOKENS_MAX:,}"
            yield fault("is no number of tokens", mend=mend, key=f"{key}.params.{name}", value=value)


def _known_provider(name: str, key: str, recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    if name and name not in recipe.providers:
        known = ", ".join(sorted(recipe.providers)) or "none"
        mend = f"write [{key_at(('providers', name))}] with its base_url (known now: {known})"
        yield fault("there is no provider of this name", mend=mend, key=key, value=name)


def _clean(clean: CleanSection, fault: Fault) -> Iterator[RecipeError]:
    for position, replace in enumerate(clean.replace):
        yield from _pattern(replace.pattern, f"clean.replace[{position}].pattern", fault)
        yield from _replacement(replace.pattern, replace.with_, f"clean.replace[{position}].with", fault)
    seen: set[str] = set()
    for position, rule in enumerate(clean.reject):
        key = f"clean.reject[{position}].name"
        yield from _pattern(rule.matches, f"clean.reject[{position}].matches", fault)
        if rule.name in RESERVED_RULE_NAMES:
            yield fault("is the name of a built-in rule", mend="call the rule something else", key=key, value=rule.name)
        if rule.name in seen:
            yield fault("there is a rule of this name already", mend="give each a name", key=key, value=rule.name)
        seen.add(rule.name)
    if clean.max_chars is not None and clean.max_chars < clean.min_chars:
        problem = f"is less than min_chars = {clean.min_chars}, so that nothing would be kept"
        yield fault(problem, mend="raise it, or lower min_chars", key="clean.max_chars", value=clean.max_chars)


def _pattern(pattern: str, key: str, fault: Fault) -> Iterator[RecipeError]:
    if problem := _problem_of_pattern(pattern):
        mend = "correct it; between 'single' quotes TOML leaves every \\ as it is"
        yield fault(problem, mend=mend, key=key, value=pattern)


def _problem_of_pattern(pattern: str) -> str:
    if not pattern:
        return "an empty expression matches everywhere"
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"no regular expression ({error})"
    return ""


def _replacement(pattern: str, replacement: str, key: str, fault: Fault) -> Iterator[RecipeError]:
    """Whether `with` refers only to groups that the pattern has: compiling it against the pattern tells."""
    if _problem_of_pattern(pattern):
        return
    try:
        re.compile(f"(?:{pattern})|").sub(replacement, "")
    except (re.error, IndexError) as error:
        mend = "\\1 is the first (group) of the pattern; a plain \\ is written \\\\"
        yield fault(f"no replacement for this pattern ({error})", mend=mend, key=key, value=replacement)


def _chat_train(train: ChatTrain, fault: Fault) -> Iterator[RecipeError]:
    written = [key for key in ("system", "user", "assistant") if getattr(train, key) is not None]
    if train.messages is not None:
        if written:
            mend = "keep messages, or the templates system, user and assistant"
            yield fault(f"stands beside {' and '.join(written)}", mend=mend, key="train.messages", value=train.messages)
        return
    for key in ("user", "assistant"):
        if key not in written:
            mend = f"write {key}, or messages with the name of the column that holds whole conversations"
            yield fault("is missing", mend=mend, key=f"train.{key}")


def _fine_tune(section: FineTuneSection, recipe: Recipe, fault: Fault) -> Iterator[RecipeError]:
    yield from _known_provider(section.provider, "fine_tune.provider", recipe, fault)
    if recipe.train is None:
        mend = "write [train] with what the model learns, or remove [fine_tune]"
        yield fault("there is no [train], so there is nothing to tune with", mend=mend, key="fine_tune")
        return
    is_preference = isinstance(recipe.train, PreferenceTrain)
    if section.method == "dpo" and not is_preference:
        mend = 'write format = "preference" in [train], or method = "supervised"'
        yield fault(f"learns from preferences, and [train] has format = {recipe.train.format!r}", mend=mend,
                    key="fine_tune.method", value=section.method)  # fmt: skip
    if section.method == "supervised" and is_preference:
        mend = 'write method = "dpo", or another format in [train]'
        yield fault("cannot learn from preferences", mend=mend, key="fine_tune.method", value=section.method)
    if section.method != "dpo" and "beta" in section.model_fields_set:
        mend = 'remove it, or write method = "dpo"'
        yield fault("only dpo has it", mend=mend, key="fine_tune.beta", value=section.beta)
