"""How large a request is, before it leaves, in the terms in which providers count."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from tunemill.frozen import quickly_made
from tunemill.model import Request

Terms: TypeAlias = tuple[float, float, float, float]

CHARACTERS_PER_TOKEN = 4
CONSTANT_TOKENS = 50.0


@quickly_made
@dataclass(frozen=True, slots=True)
class Size:
    """What is known of a request before it leaves: its prompt's characters, and the most output tokens (0: unknown)."""

    characters: int
    output_max: int

    @property
    def terms(self) -> Terms:
        prompt = self.characters / CHARACTERS_PER_TOKEN
        return CONSTANT_TOKENS, prompt, float(self.output_max), max(prompt, self.output_max)

    @property
    def least(self) -> float:
        """No rule that is known of counts a request with a bound as less than the larger of the two."""
        return max(self.characters / CHARACTERS_PER_TOKEN, self.output_max)


def size_of(request: Request) -> Size:
    """The request's size, read out of what will be sent: the texts of its messages or its prompt, and its tools."""
    body: dict[str, Any] = orjson.loads(request.body)
    characters = _characters(body.get("prompt"))
    for message in body.get("messages") or ():
        characters += _characters(message.get("content"))
    for name in ("tools", "functions"):
        if body.get(name):
            characters += len(orjson.dumps(body[name]).decode())
    return Size(characters, request.output_tokens_max or 0)


def _characters(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(_characters(part.get("text") if isinstance(part, dict) else part) for part in content or ())
