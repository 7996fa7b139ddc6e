"""Conditions over a row, as in `show --where "chars < 200"`: Jinja expressions in the same sandbox."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateSyntaxError

from tunemill.errors import ArgumentError
from tunemill.templates.compiled import compile_expression


@dataclass(frozen=True, slots=True)
class Expression:
    """One compiled condition."""

    text: str
    key: str
    _evaluate: Callable[[Mapping[str, Any]], Any]

    @classmethod
    def parse(cls, text: str, *, key: str) -> "Expression":
        """Compile. Raises ArgumentError that names `key`."""
        try:
            return cls(text, key, compile_expression(text))
        except TemplateSyntaxError as error:
            raise ArgumentError(
                f"not an expression: {error.message}",
                mend="write it like: chars < 200 and 'soon' in text",
                key=key,
                value=text,
            ) from error

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is true of these values. Raises ArgumentError where it cannot be told."""
        try:
            return bool(self._evaluate(values))
        except Exception as error:  # the expression is the person's own code and may raise anything
            known = ", ".join(sorted(values))
            raise ArgumentError(str(error), mend=f"the names are {known}", key=self.key, value=self.text) from error
