"""Which names a recipe's templates may use: the row's fields, the texts of earlier steps, and the built-in names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tunemill.errors import RecipeError
from tunemill.recipe.faults import RecipeFaults
from tunemill.recipe.sections import ChatTrain, FilesSource, GridSource, Recipe, SourceSection
from tunemill.templates import BUILT_IN_NAMES, Template

NAMES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What one template may see. `fields` is None where only the opened source tells them."""

    file: Path
    fields: Sequence[str] | None
    earlier: Sequence[str]
    later: Sequence[str] = ()


def check_templates_against(recipe: Recipe, path: Path, fields: Sequence[str]) -> None:
    """Check the templates of the recipe at `path` against the fields that the opened source has. Raises RecipeError."""
    faults = list(_faults(recipe, path, fields))
    if faults:
        raise RecipeFaults.of(faults)


def faults_in_templates(recipe: Recipe, path: Path) -> Iterator[RecipeError]:
    """What can be said without opening the source: whether templates parse, and their names where they are known."""
    return _faults(recipe, path, _fields_known(recipe.source))


def _fields_known(source: SourceSection) -> Sequence[str] | None:
    match source:
        case GridSource():
            return tuple(source.axes)
        case FilesSource():
            return ("text", "path", "name")
        case _:
            return None


def _faults(recipe: Recipe, path: Path, fields: Sequence[str] | None) -> Iterator[RecipeError]:
    names = [step.name for step in recipe.steps]
    for position, step in enumerate(recipe.steps):
        scope = _Scope(file=path, fields=fields, earlier=names[:position], later=names[position:])
        if step.name in (fields or ()):
            mend = "call the step something else"
            key = f"steps[{position}].name"
            yield RecipeError("a field of the rows has this name too", mend=mend, file=path, key=key, value=step.name)
        yield from _faults_in(step.prompt, f"steps[{position}].prompt", scope)
        yield from _faults_in(step.system, f"steps[{position}].system", scope)
    if recipe.train is not None:
        scope = _Scope(file=path, fields=fields, earlier=names)
        for key in sorted(recipe.train.template_keys):
            yield from _faults_in(getattr(recipe.train, key), f"train.{key}", scope)
        if isinstance(recipe.train, ChatTrain):
            yield from _faults_in_messages(recipe.train, scope)


def _faults_in(text: str | None, key: str, scope: _Scope) -> Iterator[RecipeError]:
    if text is None:
        return
    try:
        template = Template.parse(text, key=key, file=scope.file)
    except RecipeError as error:
        yield error
        return
    visible = BUILT_IN_NAMES | set(scope.earlier) | set(scope.fields or ())
    for name in sorted(template.names - visible):
        if name in scope.later:
            yield _later(name, key, scope)
        elif scope.fields is not None:
            yield _unknown(f"{{{{ {name} }}}}", name, key, scope)
    if scope.fields is not None:
        for name in sorted(template.row_keys - set(scope.fields)):
            yield _unknown(f'{{{{ row["{name}"] }}}}', name, key, scope)


def _later(name: str, key: str, scope: _Scope) -> RecipeError:
    problem = f"it uses {{{{ {name} }}}}, the text of a step that comes later or of the step itself"
    return RecipeError(problem, mend="a step may use the steps above it: change their order", file=scope.file, key=key)


def _unknown(written: str, name: str, key: str, scope: _Scope) -> RecipeError:
    known = [*(scope.fields or ()), *scope.earlier, *sorted(BUILT_IN_NAMES)]
    near = get_close_matches(name, known, n=1, cutoff=0.6) or [known_ for known_ in known if name in known_.split()]
    mend = f"did you mean {_as_written(near[0])}?" if near else "known here: " + _shortened(known)
    return RecipeError(f"it uses {written}, which no row has", mend=mend, file=scope.file, key=key)


def _as_written(name: str) -> str:
    return f"{{{{ {name} }}}}" if name.isidentifier() else f'{{{{ row["{name}"] }}}}'


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _faults_in_messages(train: ChatTrain, scope: _Scope) -> Iterator[RecipeError]:
    if train.messages is not None and scope.fields is not None and train.messages not in scope.fields:
        mend = "name the column that holds each row's list of messages; known here: " + _shortened(list(scope.fields))
        key = "train.messages"
        yield RecipeError("no row has this field", mend=mend, file=scope.file, key=key, value=train.messages)
