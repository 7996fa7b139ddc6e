"""Preference examples: one question, the answer that is preferred, and the one that is not."""

from dataclasses import dataclass

from tunemill.dataset.formats.base import Example, Material, Render, Unfit, dump, render
from tunemill.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceFormat:
    """`[train] format = "preference"`. `asking` are (role, template) of the input's messages, in order."""

    asking: tuple[tuple[str, Render], ...]
    preferred: Render
    non_preferred: Render
    name: str = "preference"

    def targets(self, material: Material) -> tuple[str, ...]:
        preferred = render(self.preferred, material.names)
        return preferred, render(self.non_preferred, material.names)

    def is_tool_call(self, target: str, material: Material) -> bool:
        return False

    def example(self, material: Material, targets: tuple[str, ...]) -> Example:
        preferred, other = targets
        if not other.strip():
            raise Unfit("empty", "the non-preferred text is empty")
        if preferred == other:
            raise Unfit("outputs_equal", "the preferred and the non-preferred text are the same")
        asked = [(role, render(template, material.names)) for role, template in self.asking]
        messages: list[Json] = [{"role": role, "content": text} for role, text in asked]
        line = dump(
            {
                "input": {"messages": messages},
                "preferred_output": _says(preferred),
                "non_preferred_output": _says(other),
            }
        )
        return Example(
            line=line,
            prompt=messages,
            asked=asked,
            target=preferred,
            characters=sum(len(text) for _, text in asked) + len(preferred) + len(other),
            system=asked[0][1] if asked[0][0] == "system" else "",
        )


def _says(text: str) -> list[Json]:
    return [{"role": "assistant", "content": text}]
