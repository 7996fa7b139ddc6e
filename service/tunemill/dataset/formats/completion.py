"""Completion examples for base models: the prompt ends with a separator, the completion with a stop sequence.

Both must be found exactly once, at the end, because whoever calls the tuned model ends the prompt with the one and cuts
the answer at the other. The completion starts with one space: these models' tokens carry their leading space.
"""

from dataclasses import dataclass

from tunemill.dataset.formats.base import Example, Material, Render, Unfit, dump, render


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionFormat:
    """`[train] format = "completion"`."""

    prompt: Render
    completion: Render
    separator: str
    stop: str
    name: str = "completion"

    def targets(self, material: Material) -> tuple[str, ...]:
        return (render(self.completion, material.names),)

    def is_tool_call(self, target: str, material: Material) -> bool:
        return False

    def example(self, material: Material, targets: tuple[str, ...]) -> Example:
        asked = render(self.prompt, material.names)
        target = targets[0].lstrip(" ")
        prompt = asked + self.separator
        completion = f" {target}{self.stop}"
        _refuse_early("separator_in_text", "prompt", "separator", self.separator, prompt)
        _refuse_early("stop_in_text", "completion", "stop", self.stop, completion)
        if self.separator and self.separator in completion:
            raise Unfit("separator_in_text", f"the separator {self.separator!r} occurs in the completion")
        return Example(
            line=dump({"prompt": prompt, "completion": completion}),
            prompt=[prompt],
            asked=(("", prompt),),
            target=target,
            characters=len(prompt) + len(completion),
            system="",
        )


def _refuse_early(rule: str, where: str, what: str, mark: str, text: str) -> None:
    at = text.find(mark)  # also finds a mark that begins in the text and ends in the mark itself
    if mark and at != len(text) - len(mark):
        raise Unfit(rule, f"the {what} {mark!r} occurs inside the {where}, at character {at + 1}")
