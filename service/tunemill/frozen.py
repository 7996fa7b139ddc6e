"""Frozen values that cost hardly more to make than others.

A frozen dataclass refuses to be assigned to, also by its own constructor, which goes round that through a function call
for each field: a value of ten fields takes four to six times as long to make as one that is not frozen. A request is
some twenty such values. `quickly_made` gives a class another constructor, which does the same in another way: while it
fills the fields, the object belongs to a twin of the class, with the same slots and nothing that refuses.
"""

import inspect
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def quickly_made(cls: T) -> T:
    """Decorates a frozen dataclass with slots: no base class, no `__post_init__`, no factories of defaults."""
    names = [field.name for field in fields(cls)]
    assert cls.__bases__ == (object,), "its slots are all that it has"
    assert list(cls.__slots__) == names, "and each is a field"  # type: ignore[attr-defined] # any class
    parameters = list(inspect.signature(cls).parameters.values())
    defaults = {f"_default_{each.name}": each.default for each in parameters if each.default is not each.empty}
    assert len(parameters) == len(names), "each of which is given"
    assert not hasattr(cls, "__post_init__"), "and nothing else is done"
    words = [each.name + (f"=_default_{each.name}" if each.default is not each.empty else "") for each in parameters]
    if parameters and parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        words.insert(0, "*")
    lines = [
        f"def __init__(self, {', '.join(words)}):",
        "    _become(self, _Open)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = _Frozen",
    ]
    known: dict[str, Any] = {
        "_become": vars(object)["__class__"].__set__,
        "_Open": type(cls.__name__, (), {"__slots__": tuple(names)}),
        "_Frozen": cls,
        **defaults,
    }
    exec("\n".join(lines), known)  # noqa: S102  # of names alone, as `dataclass` itself does
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = dict(vars(cls)["__init__"].__annotations__)
    cls.__init__ = made  # type: ignore[misc] # the other constructor, which is the point
    return cls
