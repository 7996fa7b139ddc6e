"""What every training format is to the rest: texts to learn, then one line of a file. It knows no file and no split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import orjson

from tunemill.frozen import quickly_made
from tunemill.model import Json, JsonObject, Row
from tunemill.templates import Unrenderable

Render: TypeAlias = Callable[[Mapping[str, Json]], str | Unrenderable]
"""A compiled template: names in, text out, or why there is none for this row."""

Compile: TypeAlias = Callable[[str, str], Render]
"""Makes a template of a text; the second argument is its key in the recipe, for messages ("train.user")."""


class Unfit(Exception):
    """This row cannot become an example. Never leaves the dataset stage: it becomes a named rejection."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What an example is made of: the row, the names its templates see, and the last step's tool calls."""

    row: Row
    names: Mapping[str, Json]
    tool_calls: Sequence[Json]


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One line of a training file.

    `line` has no line feed. `prompt` is the prompt side as it stands in there: `dump` makes equal bytes of equal
    prompts, for whoever needs them. `asked` is the same as (role, text), with the role "" where the format has none;
    `target` is the text that is learned. `characters` counts every text that the model will read. `system` is the
    system prompt, "" where there is none.
    """

    line: bytes
    prompt: Sequence[Json]
    asked: Sequence[tuple[str, str]]
    target: str
    characters: int
    system: str

    @property
    def shown(self) -> str:
        """The prompt as a person reads it."""
        return "\n\n".join(f"{role}: {text}" if role else text for role, text in self.asked)


class Format(Protocol):
    """One kind of training file."""

    @property
    def name(self) -> str:
        """chat, completion or preference, as in `[train] format`."""

    def targets(self, material: Material) -> tuple[str, ...]:
        """The texts that are learned, as the templates give them; the rules judge the first.

        Raises:
            Unfit: they cannot be made of this row.
        """

    def is_tool_call(self, target: str, material: Material) -> bool:
        """Whether this example's answer is a tool call, and so needs no text."""

    def example(self, material: Material, targets: tuple[str, ...]) -> Example:
        """The line, from the texts as they are after cleaning.

        Raises:
            Unfit: it would not be a valid example.
        """


def render(template: Render, names: Mapping[str, Json]) -> str:
    """One template for one row; whatever goes wrong inside it is this row's misfortune only."""
    text = template(names)
    if isinstance(text, Unrenderable):
        raise Unfit("unrenderable", f"{text.key} cannot be rendered: {text.problem}")
    return text


def dump(value: JsonObject | Sequence[Json]) -> bytes:
    """Canonical for our purposes: keys in the order in which the formats write them."""
    try:
        return orjson.dumps(value)
    except TypeError as error:  # orjson's own error class is one
        raise Unfit("not_json", f"cannot be written as JSON: {error}") from error
