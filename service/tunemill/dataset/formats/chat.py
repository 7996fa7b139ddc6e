"""Chat examples from templates: system and user ask, the assistant answers with a text or with tool calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunemill.dataset.formats.base import Example, Material, Render, dump, render
from tunemill.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """`[train] format = "chat"` with templates.

    `asking` are the templates of the prompt side in order, as (role, template). `tools` goes into every example where
    it is not empty, because a model that learns to call tools must be shown which there are.
    """

    asking: tuple[tuple[str, Render], ...]
    assistant: Render
    tools: Sequence[Json] = ()
    name: str = "chat"

    def targets(self, material: Material) -> tuple[str, ...]:
        return (render(self.assistant, material.names),)

    def is_tool_call(self, target: str, material: Material) -> bool:
        return bool(material.tool_calls) and not target.strip()

    def example(self, material: Material, targets: tuple[str, ...]) -> Example:
        (target,) = targets
        asked: list[tuple[str, str]] = []
        prompt: list[Json] = []
        characters = 0
        for role, template in self.asking:
            text = render(template, material.names)
            asked.append((role, text))
            prompt.append({"role": role, "content": text})
            characters += len(text)
        answer: dict[str, Json] = {"role": "assistant"}
        if self.is_tool_call(target, material):
            answer["tool_calls"] = material.tool_calls
            target = dump(material.tool_calls).decode()
        else:
            answer["content"] = target
        body: dict[str, Json] = {"messages": [*prompt, answer]}
        if self.tools:
            body["tools"] = self.tools
        return Example(
            line=dump(body),
            prompt=prompt,
            asked=asked,
            target=target,
            characters=characters + len(target),
            system=asked[0][1] if asked and asked[0][0] == "system" else "",
        )
