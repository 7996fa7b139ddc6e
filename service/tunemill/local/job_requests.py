"""What a create request asks for, checked as the hosted service checks it. A wrong one becomes a 400 reply."""

import math
from collections.abc import Mapping
from typing import Any

from tunemill.local.jobs import Asked
from tunemill.local.replies import Reply, bad_request

_AUTO_EPOCHS = 3
_AUTO_BATCH_FRACTION = 0.002  # of the examples, as the hosted service does
_BATCH_MAX = 256
_METHODS = ("supervised", "dpo")


class Refused(Exception):
    """The request is wrong; `reply` says how."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.reply: Reply = bad_request(message, param=param)


def asked(fields: Mapping[str, Any], *, examples: int, seed_default: int) -> Asked:
    """The request's values, with `auto` decided for so many examples. Raises `Refused`."""
    method, given = _method(fields)
    return Asked(
        model=_string(fields, "model"),
        training_file=_string(fields, "training_file"),
        validation_file=_optional_string(fields, "validation_file"),
        suffix=_suffix(fields),
        method=method,
        n_epochs=int(_number(given, "n_epochs", 1, 50, auto=_AUTO_EPOCHS)),
        batch_size=int(_number(given, "batch_size", 1, _BATCH_MAX, auto=_auto_batch(examples))),
        learning_rate_multiplier=_number(given, "learning_rate_multiplier", 0, math.inf, auto=1.8),
        beta=_number(given, "beta", 0, 2, auto=0.1),
        seed=int(_number(fields, "seed", -(2**63), 2**63, auto=seed_default)),
        metadata=_metadata(fields.get("metadata")),
        integrations=_integrations(fields.get("integrations")),
    )


def _auto_batch(examples: int) -> int:
    return min(_BATCH_MAX, max(1, math.ceil(examples * _AUTO_BATCH_FRACTION)))


def _string(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f"{key!r} is a required property, and a string", key)
    return value


def _optional_string(fields: Mapping[str, Any], key: str) -> str | None:
    return None if fields.get(key) is None else _string(fields, key)


def _suffix(fields: Mapping[str, Any]) -> str:
    suffix = _optional_string(fields, "suffix") or ""
    if len(suffix) > 64:
        raise Refused(f"{suffix!r} is too long - 'suffix' has at most 64 characters", "suffix")
    return suffix


def _method(fields: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The method's name and its hyperparameters, which older clients send at the top."""
    method = fields.get("method") or {"type": "supervised"}
    if not isinstance(method, dict) or method.get("type") not in _METHODS:
        raise Refused(f"'method.type' must be one of {', '.join(_METHODS)}", "method.type")
    name = method["type"]
    given = (method.get(name) or {}).get("hyperparameters") or fields.get("hyperparameters") or {}
    if not isinstance(given, dict):
        raise Refused("'hyperparameters' must be an object", "hyperparameters")
    return name, given


def _number(given: Mapping[str, Any], key: str, least: float, most: float, *, auto: float) -> float:
    value = given.get(key)
    if value is None or value == "auto":
        return auto
    whole = key in ("n_epochs", "batch_size", "seed")
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not least <= value <= most or (not whole and value == least):
        raise Refused(f"{value!r} is not valid for {key!r}: expected a number from {least:g} to {most:g}", key)
    return value  # type: ignore[no-any-return]  # a number, as has just been checked


def _metadata(value: Any) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > 16:
        raise Refused("'metadata' must be an object of at most 16 pairs", "metadata")
    for key, text in value.items():
        if not isinstance(text, str) or len(key) > 64 or len(text) > 512:
            raise Refused(f"'metadata.{key}': keys have at most 64 characters, values are texts of 512", "metadata")
    return value


def _integrations(value: Any) -> list[Any] | None:
    if value is None:
        return None
    for item in value if isinstance(value, list) else [value]:
        project = item.get("wandb", {}).get("project") if isinstance(item, dict) else None
        if not isinstance(project, str) or item.get("type") != "wandb":
            raise Refused("'integrations' must be an array of wandb integrations with a project", "integrations")
    return list(value)
