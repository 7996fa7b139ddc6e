"""Keys that were written into a recipe are refused before anything else looks at it, and are never echoed.

Looked at: names that say what they hold (api_key, token, headers, ...), values of the shape that providers give their
keys, anywhere, and, where the name of a variable belongs, values that are no such name. No message made here shows a
value, nor any part of a name that itself looks like a key.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunemill.errors import RecipeError
from tunemill.recipe.faults import key_at

_NAMES = re.compile(
    r"(?i)(?:^|[_-])(?:api[_-]?key|apikey|access[_-]?key|secret|secret[_-]?key|password|passwd|token|auth|authorization|"
    r"bearer|credentials?)$"
)
_KEY_SHAPES = re.compile(
    r"""(?x)
    \bsk-(?=[\w-]*\d)[\w-]{16,}            # OpenAI, Anthropic, OpenRouter and many that imitate them
    | \b(?:gsk|xai|hf|r8|nvapi|pplx|csk|fw)[_-](?=\w*\d)\w{20,}
    | \bAIza[\w-]{30,} | \bghp_\w{30,} | \bxox[abp]-[\w-]{20,} | \bAKIA[A-Z0-9]{16}\b
    | \beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.     # a JSON web token
    | \bhooks\.slack\.com/\w+/\w          # whoever has a webhook's address may write there
    | \bdiscord(?:app)?\.com/api/webhooks/\w | \.webhook\.office\.com/\w
    """
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def holds_a_key(text: str) -> bool:
    """Whether the text has something of the shape of an API key in it."""
    return _KEY_SHAPES.search(text) is not None


def faults_in_secrets(document: dict[str, Any], path: Path) -> Iterator[RecipeError]:
    """A fault for every place that holds a key or that asks for one."""
    return _walk(document, (), path)


def secret_fault(key: str, path: Path) -> RecipeError:
    """The fault of a place that holds a key. It does not say what is there."""
    instead = 'webhook_env = "SLACK_WEBHOOK"' if "webhook" in key else 'api_key_env = "OPENAI_API_KEY"'
    return RecipeError(
        "a key may not be written into a recipe (it is not shown here)",
        mend=f"put it into an environment variable and name that, such as {instead}; "
        "if this file was shared, have the key replaced",
        file=path,
        key=key,
    )


def _variable_fault(key: str, path: Path) -> RecipeError:
    return RecipeError(
        "is not the name of an environment variable (it is not shown here, as it may be a key)",
        mend='put the key into a variable and write its name, such as "OPENAI_API_KEY"; '
        "if a key stood here and the file was shared, have it replaced",
        file=path,
        key=key,
    )


def _walk(value: Any, at: tuple[str | int, ...], path: Path) -> Iterator[RecipeError]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(key, item, at, path)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _walk(item, (*at, position), path)
    elif isinstance(value, str) and holds_a_key(value):
        yield secret_fault(key_at(at), path)


def _entry(key: str, value: Any, at: tuple[str | int, ...], path: Path) -> Iterator[RecipeError]:
    if holds_a_key(key) or _starts_like_a_key(key):
        yield secret_fault(key_at((*at, "...")), path)
    elif key.endswith("_env") and isinstance(value, str) and not _is_variable(value):
        yield _variable_fault(key_at((*at, key)), path)
    elif key.lower() in ("headers", "extra_headers") or (isinstance(value, str) and _is_secret(key, value)):
        yield secret_fault(key_at((*at, key)), path)
    else:
        yield from _walk(value, (*at, key), path)


def _is_secret(key: str, value: str) -> bool:
    if key == "base_url":
        return has_credentials(value)
    if key in ("webhook", "webhook_url"):
        return bool(value)
    return bool(_NAMES.search(key)) or _starts_like_a_key(value)


def _starts_like_a_key(value: str) -> bool:
    return re.fullmatch(r"(?i)(?:bearer\s+)?sk-[\w-]{3,}", value.strip()) is not None


def _is_variable(value: str) -> bool:
    """Whether it can be the name of a variable, rather than a key: names are words, keys are long and mixed."""
    if not _VARIABLE.fullmatch(value):
        return value == ""  # an empty one is no secret; it is refused later, by name
    mixed = any(letter.isdigit() for letter in value) and any(letter.islower() for letter in value)
    return not (mixed and len(value) >= 20)


def has_credentials(url: str) -> bool:
    """Whether the address holds a user name, a password or a key."""
    authority = url.partition("://")[2].partition("/")[0]
    return "@" in authority or re.search(r"(?i)[?&](?:[\w-]*key|token|sig|secret)=", url) is not None
