"""`inference.json`: what whoever calls the tuned model must know, so that it is asked as it was taught."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import orjson

from tunemill.errors import RunFolderError
from tunemill.model import Json, JsonObject
from tunemill.recipe.sections import ChatTrain, CompletionTrain, PreferenceTrain, TrainSection

INFERENCE_FILE = "inference.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """How to ask the tuned model. "" stands for what the format does not have.

    chat and preference: `system` and `user` are the training templates. Where the rows held whole conversations
    (`messages_field`), `system` is the text that all of them shared. completion: `prompt` is the training template,
    without the `separator` that must follow it; the answer ends at `stop`. `tools` were declared in every example.
    """

    recipe: str
    base_model: str
    format: str
    system: str = ""
    user: str = ""
    messages_field: str = ""
    prompt: str = ""
    separator: str = ""
    stop: str = ""
    tools: Sequence[Json] = ()

    def to_json(self) -> dict[str, Json]:
        return {
            "recipe": self.recipe,
            "base_model": self.base_model,
            "format": self.format,
            "system": self.system,
            "user": self.user,
            "messages_field": self.messages_field,
            "prompt": self.prompt,
            "separator": self.separator,
            "stop": self.stop,
            "tools": list(self.tools),
        }

    def request(self, asked: str, *, system: str = "", earlier: Sequence[JsonObject] = ()) -> dict[str, Json]:
        """The body's part that asks, in the shape that was trained: `messages`, or `prompt` and `stop`.

        `asked` is the rendered prompt or what a person typed, `system` the rendered system prompt, `earlier` the turns
        of a conversation so far (chat only).
        """
        if self.format == "completion":
            stop: dict[str, Json] = {"stop": [self.stop]} if self.stop else {}
            return {"prompt": asked + self.separator, **stop}
        opening: list[Json] = [{"role": "system", "content": system}] if system else []
        messages: list[Json] = [*opening, *earlier, {"role": "user", "content": asked}]
        return {"messages": messages, **({"tools": self.tools} if self.tools else {})}


def inference_of(
    train: TrainSection, *, recipe: str, base_model: str, shared_system: str, tools: Sequence[Json]
) -> Inference:
    """What `[train]` says about asking. `shared_system` is what the examples themselves had in common."""
    match train:
        case ChatTrain(messages=str(field)):
            return Inference(
                recipe=recipe, base_model=base_model, format=train.format, system=shared_system, messages_field=field
            )
        case ChatTrain():
            return Inference(
                recipe=recipe,
                base_model=base_model,
                format=train.format,
                system=train.system or "",
                user=train.user or "",
                tools=tools,
            )
        case PreferenceTrain():
            return Inference(
                recipe=recipe, base_model=base_model, format=train.format, system=train.system or "", user=train.user
            )
        case CompletionTrain():
            return Inference(
                recipe=recipe,
                base_model=base_model,
                format=train.format,
                prompt=train.prompt,
                separator=train.separator,
                stop=train.stop,
            )
        case _:
            assert_never(train)


def read_inference(folder: Path) -> Inference:
    """The run folder's `inference.json`.

    Raises:
        RunFolderError: it is missing, or not what a build wrote.
    """
    path = folder / INFERENCE_FILE
    try:
        raw = orjson.loads(path.read_bytes())
    except OSError as error:
        mend = "build the dataset first: tunemill build"
        raise RunFolderError(f"cannot be read ({error.strerror})", mend=mend, file=path) from error
    except orjson.JSONDecodeError as error:
        raise _damaged(path) from error
    if not isinstance(raw, dict):
        raise _damaged(path)
    return _parsed(raw, path)


def _parsed(raw: Mapping[str, Json], path: Path) -> Inference:
    texts = {key: value for key, value in raw.items() if key != "tools"}
    tools = raw.get("tools", [])
    known = Inference(recipe="", base_model="", format="").to_json().keys() - {"tools"}
    if texts.keys() != known or not isinstance(tools, list):
        raise _damaged(path)
    strings = {key: value for key, value in texts.items() if isinstance(value, str)}
    if len(strings) != len(texts):
        raise _damaged(path)
    return Inference(**strings, tools=tuple(tools))


def _damaged(path: Path) -> RunFolderError:
    return RunFolderError("is not what a build writes", mend="build the dataset again: tunemill build", file=path)
