"""Chat examples that the rows hold already: a field with the whole list of messages.

Several turns, tool calls, weights and content parts are kept as they are; only the last message's text passes through
the mending rules. Fields `tools` and `parallel_tool_calls` beside it go along. What a target would refuse is
refused here, with the fault that `check` would name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from tunemill.dataset.check.chat import chat_faults
from tunemill.dataset.check.faults import Severity
from tunemill.dataset.check.texts import text_of_content, text_of_message
from tunemill.dataset.formats.base import Example, Material, Unfit, dump
from tunemill.model import Json, JsonObject

_COMPANIONS = ("tools", "parallel_tool_calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesFormat:
    """`[train] format = "chat"` with `messages`, the name of a row field. A field that is text is read as JSON."""

    field: str
    name: str = "chat"

    def targets(self, material: Material) -> tuple[str, ...]:
        messages = self._messages(material)
        return (text_of_content(messages[-1].get("content")),)

    def is_tool_call(self, target: str, material: Material) -> bool:
        return not target.strip() and bool(self._messages(material)[-1].get("tool_calls"))

    def example(self, material: Material, targets: tuple[str, ...]) -> Example:
        messages = self._messages(material)
        last = messages[-1]
        if isinstance(last.get("content"), str):
            messages = [*messages[:-1], {**last, "content": targets[0]}]
        body: dict[str, Json] = {"messages": messages}
        for companion in _COMPANIONS:
            value = _read(material.row.fields.get(companion), companion)
            if value is not None:
                body[companion] = value
        self._refuse_faults(body)
        asked = [(str(message["role"]), text_of_message(message)) for message in messages[:-1]]
        return Example(
            line=dump(body),
            prompt=messages[:-1],
            asked=asked,
            target=text_of_message(messages[-1]),
            characters=sum(len(text_of_message(message)) for message in messages),
            system=asked[0][1] if asked and asked[0][0] in ("system", "developer") else "",
        )

    def _messages(self, material: Material) -> Sequence[JsonObject]:
        if self.field not in material.row.fields:
            raise Unfit("unrenderable", f"the row has no field {self.field!r}, which train.messages names")
        value = _read(material.row.fields[self.field], self.field)
        if not isinstance(value, list) or not value:
            raise Unfit("invalid_messages", f"field {self.field!r} is not a list of messages")
        messages = [message for message in value if isinstance(message, Mapping)]
        if len(messages) != len(value):
            raise Unfit("invalid_messages", f"field {self.field!r}: each message must be an object")
        return messages

    def _refuse_faults(self, body: JsonObject) -> None:
        for fault in chat_faults(body):
            if fault.severity is Severity.ERROR:
                raise Unfit("invalid_messages", f"{fault.field}: {fault.problem}; {fault.mend}")


def _read(value: Json, field: str) -> Json:
    """A field from a CSV file is text: a list in it is JSON."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        parsed: Json = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Unfit("invalid_messages", f"field {field!r} is not JSON: {error}") from error
    return parsed
