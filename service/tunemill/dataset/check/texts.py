"""The texts in a message, whatever its shape, for measuring and for showing. Broken shapes count as no text."""

from collections.abc import Iterator, Mapping, Sequence

from tunemill.model import Json, JsonObject


def text_of_content(content: Json) -> str:
    """A content that is a string, or the text parts of one that is a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(part for part in parts if isinstance(part, str))


def text_of_message(message: JsonObject) -> str:
    """The content, then the calls of tools as name(arguments)."""
    content = message.get("content")
    if isinstance(content, str) and "tool_calls" not in message:
        return content
    texts = [text_of_content(content), *_texts_of_calls(message.get("tool_calls"))]
    return "\n".join(text for text in texts if text)


def objects_in(value: Json) -> Sequence[JsonObject]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _texts_of_calls(calls: Json) -> Iterator[str]:
    for call in objects_in(calls):
        function = call.get("function")
        if isinstance(function, Mapping):
            yield f"{function.get('name', '')}({function.get('arguments', '')})"
