"""How a value stands in a prompt; and templates that are nothing but text and names, filled in without Jinja2."""

from collections.abc import Callable, Container, Mapping, Sequence
from operator import itemgetter

import orjson
from jinja2 import StrictUndefined, Undefined, nodes

from tunemill.model import Json

_TEXT = frozenset({str})


class Plain:
    """A template without statements, filters or expressions: a frame of text, and the names whose values go into it."""

    __slots__ = ("_frame", "_names", "_pick")

    def __init__(self, texts: Sequence[str], names: Sequence[str]) -> None:
        """`texts` stand before, between and behind the names, so that there is one more of them."""
        self._frame = "%s".join(text.replace("%", "%%") for text in texts)
        self._names = names
        self._pick = _picker(names)

    def filled(self, values: Mapping[str, Json]) -> str:
        """The text. Raises UndefinedError for a name that has no value."""
        try:
            found = self._pick(values)
        except KeyError:
            found = tuple(values[name] if name in values else StrictUndefined(name=name) for name in self._names)
        if not _TEXT.issuperset(map(type, found)):
            found = tuple(shown(value) for value in found)
        return self._frame % found


def plain_of(tree: nodes.Template, not_names: Container[str]) -> Plain | None:
    """The template as frame and names; None where it is more than that. `not_names` mean something to Jinja2."""
    texts, names = [""], []
    for output in tree.body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            match node:
                case nodes.TemplateData():
                    texts[-1] += node.data
                case nodes.Name() if node.name not in not_names:
                    names.append(node.name)
                    texts.append("")
                case _:
                    return None
    return Plain(texts, names)


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Json]], tuple[object, ...]]:
    """Values by name, all at once. Raises KeyError."""
    match names:
        case []:
            return lambda values: ()
        case [name]:
            return lambda values: (values[name],)
        case _:
            return itemgetter(*names)


def shown(value: object) -> object:
    """How a value stands in a prompt. Jinja2 calls this for every `{{ ... }}`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Undefined):  # an undefined one raises the error that names it
        return str(value)
    if isinstance(value, Mapping | list | tuple):
        return orjson.dumps(value, default=_plain).decode()
    raise _cannot_be_written(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise _cannot_be_written(value)


def _cannot_be_written(value: object) -> TypeError:
    return TypeError(f"a {type(value).__name__} cannot be written into a text")
