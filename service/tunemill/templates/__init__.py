"""A recipe's prompts: compiled once, rendered for many rows, and the filters that cut long documents."""

from tunemill.templates.compiled import BUILT_IN_NAMES, TEXT_CHARS_MAX, Template, Unrenderable, entropy, values_for
from tunemill.templates.expression import Expression
from tunemill.templates.truncation import BYTES_PER_TOKEN, CUT_MARKER, tokens_estimated, truncate_chars, truncate_tokens

__all__ = [
    "BUILT_IN_NAMES",
    "BYTES_PER_TOKEN",
    "CUT_MARKER",
    "TEXT_CHARS_MAX",
    "Expression",
    "Template",
    "Unrenderable",
    "entropy",
    "tokens_estimated",
    "truncate_chars",
    "truncate_tokens",
    "values_for",
]
