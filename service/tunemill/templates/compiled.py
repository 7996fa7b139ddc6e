"""Templates: compiled once and rendered for many rows.

Jinja2 in its immutable sandbox. What a template promises:

- The same values render to the same text on every machine and at every restart: nothing random can be reached.
- A name that a row does not have is an error of that row (`Unrenderable`), never silently empty.
- One newline at the very end of the template is dropped, so that a prompt between TOML's triple quotes, or one that
  ends like every text file, does not end with a newline. Who wants one writes two. Nothing else is stripped.
- Text and numbers render as they are written, true and false in lower case, null as nothing, lists and tables as JSON.
- A rendered text has at most `TEXT_CHARS_MAX` characters. This, and the limits on what one expression may build, are a
  guard against accidents: a recipe belongs to the person who runs it.

It does not know which names exist; whoever knows the rows compares `Template.names` with them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2 import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunemill.errors import RecipeError
from tunemill.model import Json, Row
from tunemill.templates.plain import plain_of, shown
from tunemill.templates.truncation import truncate_chars, truncate_tokens

TEXT_CHARS_MAX = 10_000_000
EXPRESSION_SIZE_MAX = 1_000_000  # characters or items that one operator, method or filter may be asked to build
_SYNTAX_MEND = (
    "templates are Jinja2: names stand in {{ }}, statements in {% %}, and a column whose name is not one word is "
    '{{ row["Column Name"] }}'
)
BUILT_IN_NAMES = frozenset({"entropy", "row_id", "sample", "row"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrenderable:
    """This row cannot be rendered by this template. `key` is the template's place in the recipe."""

    key: str
    problem: str


class Template:
    """One compiled template.

    `names` are the names that it reads and does not define itself; `row_keys` are the columns that it reads by
    `row["..."]`. Most templates are nothing but text and names; those are filled in directly, ten times as fast.
    """

    __slots__ = ("_compiled", "_plain", "key", "names", "row_keys", "text")

    def __init__(self, *, text: str, key: str, tree: nodes.Template, compiled: JinjaTemplate) -> None:
        """For `parse`: `tree` and `compiled` are of this `text`."""
        self.text = text
        self.key = key
        self.names = frozenset(meta.find_undeclared_variables(tree)) - _ENVIRONMENT.globals.keys()
        self.row_keys = _row_keys(tree)
        self._compiled = compiled
        self._plain = plain_of(tree, _ENVIRONMENT.globals)

    @classmethod
    def parse(cls, text: str, *, key: str, file: Path | str | None = None) -> "Template":
        """Compile `text`. Raises RecipeError naming `file`, `key` and the template's own line."""
        try:
            tree = _ENVIRONMENT.parse(text)
            _check_filters(tree, key=key, file=file)
            _refuse_other_templates(tree, key=key, file=file)
            _check_truncation_arguments(tree, key=key, file=file)
            compiled = _ENVIRONMENT.from_string(text)
            return cls(text=text, key=key, tree=tree, compiled=compiled)
        except TemplateSyntaxError as error:
            raise _fault(str(error.message), line=error.lineno, key=key, file=file) from error
        except RecursionError as error:
            raise _fault("it is nested too deeply", line=1, key=key, file=file) from error

    def render(self, values: Mapping[str, Json]) -> str | Unrenderable:
        """The text for these values, or why there is none."""
        try:
            if self._plain is not None:
                text = self._plain.filled(values)
                if len(text) > TEXT_CHARS_MAX:
                    raise _too_long()
                return text
            return "".join(_bounded(self._compiled.generate(values)))
        except Exception as error:
            # The expressions are the recipe's own code, so they may raise anything; and as they work for other rows,
            # it is this row that is set aside.
            return Unrenderable(key=self.key, problem=str(error) or type(error).__name__)


def compile_expression(text: str) -> Callable[[Mapping[str, Any]], Any]:
    """A single expression of the templates' language. Raises jinja2.TemplateSyntaxError; undefined names raise too."""
    evaluate = _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    return lambda values: evaluate(**values)


def values_for(
    row: Row, *, seed: int, sample: int, texts: Mapping[str, str] | None = None, with_entropy: bool = True
) -> dict[str, Json]:
    """What templates see: the row's fields, the earlier steps' `texts` by name, and the built-in names, which hide a
    field of the same name (`row["sample"]` still reaches it). `with_entropy` False saves the microsecond it costs."""
    values = {**row.fields, **(texts or {})}
    values["row"] = row.fields
    values["row_id"] = row.id
    values["sample"] = sample
    if with_entropy:
        values["entropy"] = entropy(seed, row.id, sample)
    return values


def entropy(seed: int, row_id: str, sample: int) -> str:
    """A UUID (version 8) that depends on nothing but the seed, the row and the sample."""
    digits = blake2b(f"{seed}/{row_id}/{sample}".encode(), digest_size=16, person=b"tunemill-entropy").hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox, with a limit on what a single operator or method call may build."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text % values is not available: join texts with ~")
        if operator == "**" and not (_is_at_most(left, 10**6) and _is_at_most(right, 64)):
            raise SecurityError("the power is too large")
        if operator == "*" and _product_size(left, right) > EXPRESSION_SIZE_MAX:
            raise SecurityError(f"the product is larger than {EXPRESSION_SIZE_MAX:,} characters or items")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(getattr(obj, "__self__", None), str):
            _refuse_large_numbers(args)
        return super().call(context, obj, *args, **kwargs)


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, finalize=shown, autoescape=False)
    for name in ("center", "indent", "slice", "batch", "wordwrap"):
        environment.filters[name] = _limited(environment.filters[name])
    environment.filters["truncate_chars"] = truncate_chars
    environment.filters["truncate_tokens"] = truncate_tokens
    # A prompt that differs at every restart has another request id each time, and is paid for each time.
    del environment.filters["random"]
    del environment.globals["lipsum"]
    # printf-style widths can ask for any amount of padding, and nobody needs them beside `~` and `round`.
    del environment.filters["format"]
    return environment


def _bounded(parts: Iterable[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > TEXT_CHARS_MAX:
            raise _too_long()
        yield part


def _too_long() -> SecurityError:
    return SecurityError(f"the rendered text is longer than {TEXT_CHARS_MAX:,} characters")


def _is_at_most(value: object, limit: int) -> bool:
    return isinstance(value, int | float) and abs(value) <= limit


def _product_size(left: object, right: object) -> int:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int):
            return len(many) * max(times, 0)
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    return 0


def _refuse_large_numbers(arguments: Iterable[object]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and argument > EXPRESSION_SIZE_MAX:
            raise SecurityError(f"{argument:,} is more than the {EXPRESSION_SIZE_MAX:,} that may be asked for")


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that takes a width or a count, with a limit on it."""

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        _refuse_large_numbers((*args, *kwargs.values()))
        return function(*args, **kwargs)

    return limited


def _row_keys(tree: nodes.Template) -> frozenset[str]:
    found = (
        item.arg.value
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and item.node.name == "row" and isinstance(item.arg, nodes.Const)
    )
    return frozenset(key for key in found if isinstance(key, str))


def _check_filters(tree: nodes.Template, *, key: str, file: Path | str | None) -> None:
    for call in tree.find_all(nodes.Filter):
        if call.name not in _ENVIRONMENT.filters:
            near = get_close_matches(call.name, sorted(_ENVIRONMENT.filters), n=1, cutoff=0.5)
            mend = f"did you mean {near[0]}?" if near else "see Jinja2's list of built-in filters"
            raise _fault(f"there is no filter {call.name!r}", line=call.lineno, key=key, file=file, mend=mend)


def _refuse_other_templates(tree: nodes.Template, *, key: str, file: Path | str | None) -> None:
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise _fault("a template cannot include, import or extend another one", line=node.lineno, key=key, file=file)


def _check_truncation_arguments(tree: nodes.Template, *, key: str, file: Path | str | None) -> None:
    """Where a truncation's length and marker are written as constants, a wrong one fails now and not at every row."""
    for call in tree.find_all(nodes.Filter):
        if call.name not in ("truncate_chars", "truncate_tokens"):
            continue
        arguments = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
        if len(arguments) != len(call.args) or call.kwargs or call.dyn_args or call.dyn_kwargs:
            continue
        cut = truncate_chars if call.name == "truncate_chars" else truncate_tokens
        try:
            cut("", *arguments)
        except (TypeError, ValueError) as error:
            raise _fault(f"{call.name}: {error}", line=call.lineno, key=key, file=file) from error


def _fault(problem: str, *, line: int, key: str, file: Path | str | None, mend: str = _SYNTAX_MEND) -> RecipeError:
    return RecipeError(f"line {line} of this template: {problem}", mend=mend, file=file, key=key)


_ENVIRONMENT = _environment()
