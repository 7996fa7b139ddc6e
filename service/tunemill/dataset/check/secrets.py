"""Finds what looks like a credential in training data: a tuned model may say it to anybody. Values are never shown."""

import re
from collections.abc import Iterator

from tunemill.dataset.check.faults import Fault, FaultKind, fault
from tunemill.model import Json, JsonObject

# What it is, words without which it cannot be there, and its shape. Most lines hold none of the words, and looking for
# a word costs far less than a pass of the expression.
_SHAPES = (
    ("an API key (sk-...)", (b"sk-",), rb"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{20,}"),
    ("an AWS access key", (b"AKIA", b"ASIA"), rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])"),
    (
        "a GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})",
    ),
    ("a Slack token", (b"xox",), rb"(?<![A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{10,}"),
    ("a Hugging Face token", (b"hf_",), rb"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}"),
    ("a Google API key", (b"AIza",), rb"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}"),
    ("a private key", (b"PRIVATE KEY",), rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
)
_COMPILED = tuple((what, words, re.compile(shape)) for what, words, shape in _SHAPES)


def secret_faults(raw: bytes, value: JsonObject) -> Iterator[Fault]:
    """One warning for each field with something of a credential's shape."""
    suspects = [
        (what, pattern)
        for what, words, pattern in _COMPILED
        if any(word in raw for word in words) and pattern.search(raw)
    ]
    if not suspects:
        return
    for at, text in _texts(value, ""):
        encoded = text.encode("utf-8", "replace")
        for what, pattern in suspects:
            if pattern.search(encoded):
                yield fault(FaultKind.SECRET, at, f"holds what looks like {what}")


def _texts(value: Json, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{at}[{index}]")
