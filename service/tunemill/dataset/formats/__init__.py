"""The training formats, one file each, and the choice among them."""

from collections.abc import Sequence
from typing import assert_never

from tunemill.dataset.formats.base import Compile, Example, Format, Material, Render, Unfit
from tunemill.dataset.formats.chat import ChatFormat
from tunemill.dataset.formats.completion import CompletionFormat
from tunemill.dataset.formats.messages import MessagesFormat
from tunemill.dataset.formats.preference import PreferenceFormat
from tunemill.errors import RecipeError
from tunemill.model import Json
from tunemill.recipe.sections import ChatTrain, CompletionTrain, PreferenceTrain, TrainSection

__all__ = ["Compile", "Example", "Format", "Material", "Render", "Unfit", "format_of"]


def format_of(train: TrainSection, compile_template: Compile, *, tools: Sequence[Json] = ()) -> Format:
    """The format that `[train]` asks for, with its templates compiled. `tools` is for chat alone.

    A template that reads nothing (most system prompts) is rendered once, which is a third of a build's time.

    Raises:
        RecipeError: `[train]` of a chat recipe names neither `assistant` nor `messages`, or both.
    """
    compile_template = _once_if_constant(compile_template)
    match train:
        case ChatTrain():
            return _chat(train, compile_template, tools)
        case CompletionTrain():
            return CompletionFormat(
                prompt=compile_template(train.prompt, "train.prompt"),
                completion=compile_template(train.completion, "train.completion"),
                separator=train.separator,
                stop=train.stop,
            )
        case PreferenceTrain():
            return PreferenceFormat(
                asking=_asking(train.system, train.user, compile_template),
                preferred=compile_template(train.preferred, "train.preferred"),
                non_preferred=compile_template(train.non_preferred, "train.non_preferred"),
            )
        case _:
            assert_never(train)


def _chat(train: ChatTrain, compile_template: Compile, tools: Sequence[Json]) -> Format:
    templates = (train.system, train.user, train.assistant)
    if train.messages is not None:
        if any(template is not None for template in templates):
            mend = "keep `messages`, or the templates system, user and assistant"
            raise RecipeError("stands beside templates", mend=mend, key="train.messages", value=train.messages)
        return MessagesFormat(field=train.messages)
    if train.assistant is None:
        mend = (
            'add assistant = "{{ ... }}" with what the model shall say, or messages = "the field with the whole chat"'
        )
        raise RecipeError("is missing", mend=mend, key="train.assistant")
    return ChatFormat(
        asking=_asking(train.system, train.user, compile_template),
        assistant=compile_template(train.assistant, "train.assistant"),
        tools=tools,
    )


def _asking(system: str | None, user: str | None, compile_template: Compile) -> tuple[tuple[str, Render], ...]:
    roles = (("system", system), ("user", user))
    return tuple((role, compile_template(text, f"train.{role}")) for role, text in roles if text is not None)


def _once_if_constant(compile_template: Compile) -> Compile:
    def compile_once(text: str, key: str) -> Render:
        template = compile_template(text, key)
        if "{" in text:
            return template
        rendered = template({})
        return lambda names: rendered

    return compile_once
