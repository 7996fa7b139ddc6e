r"""The rules of `[clean]`: what is mended, what is thrown out, and under which name. Pure; it knows no file.

The order is fixed, and the first rule that objects gives its name to the verdict:

1. Each step's completion, in the order of the chain: `content_filter`, `refusal`, `empty` (neither text nor tool
   calls), `finish_reason` (not among `finish_reasons`).
2. Each step's text is mended: `strip`, every `replace` in order, and `strip` again, because a replacement may lay bare
   white space. In a recipe without steps the same is done to the text that is learned.
3. The text that is learned (the rendered assistant, completion or preferred text): `empty`, the recipe's own
   rules in order, `too_short`, `too_long`. Lengths are in characters. An example whose whole answer is a tool call has
   no text to be measured, and passes `empty` and `too_short`.

A recipe's regular expressions run as they are, unbounded in time: one that backtracks catastrophically (`(a+)+$`) on
a long text will stall the build. That is the recipe's to avoid.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from tunemill.errors import RecipeError
from tunemill.model import Candidate, Completion
from tunemill.recipe.sections import CleanSection, ReplaceRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Left out: the rule's name, a sentence for a person, and the step at fault (None: the example as a whole)."""

    rule: str
    detail: str
    step: str | None = None


Verdict: TypeAlias = dict[str, str] | Rejected
"""Of a candidate's completions: their mended texts by step name where nothing objects to them."""


class Cleaner:
    """`[clean]` with its expressions compiled.

    Raises:
        RecipeError: an expression or a replacement is malformed.
    """

    __slots__ = ("_finish_reasons", "_reject", "_replace", "_section")

    def __init__(self, section: CleanSection) -> None:
        self._section = section
        self._finish_reasons = frozenset(section.finish_reasons)
        self._replace = [_replacement(index, rule) for index, rule in enumerate(section.replace)]
        self._reject = [
            (rule.name, _compiled(f"clean.reject[{index}].matches", rule.matches))
            for index, rule in enumerate(section.reject)
        ]

    def judge_completions(self, candidate: Candidate) -> Verdict:
        """Rules about the completions themselves, step by step; then the mended texts."""
        texts = {}
        for step, completion in candidate.answers.items():
            objection = self._objection(step, completion)
            if objection is not None:
                return objection
            texts[step] = self.mend(completion.text)
        return texts

    def mend(self, text: str) -> str:
        """Strip and replace, as the recipe says. Doing it twice may replace twice: do it once."""
        if self._section.strip:
            text = text.strip()
        for pattern, replacement in self._replace:
            text = pattern.sub(replacement, text)
        return text.strip() if self._section.strip and self._replace else text

    def judge_target(self, text: str, *, is_tool_call: bool = False) -> Rejected | None:
        """Rules about the text that is learned; None where none of them objects."""
        section = self._section
        if not is_tool_call and not text.strip():
            return Rejected(rule="empty", detail="the text to be learned is empty")
        for name, pattern in self._reject:
            found = pattern.search(text)
            if found is not None:
                return Rejected(rule=name, detail=f"matches {pattern.pattern!r} at character {found.start() + 1}")
        length = len(text)
        if length < section.min_chars and not is_tool_call:
            return Rejected(rule="too_short", detail=f"{length:,} characters; min_chars is {section.min_chars:,}")
        if section.max_chars is not None and length > section.max_chars:
            return Rejected(rule="too_long", detail=f"{length:,} characters; max_chars is {section.max_chars:,}")
        return None

    def _objection(self, step: str, completion: Completion) -> Rejected | None:
        reason = completion.finish_reason
        if reason == "content_filter":
            return Rejected(rule="content_filter", detail="the provider's content filter cut it off", step=step)
        if completion.refusal is not None or reason == "refusal":
            return Rejected(rule="refusal", detail=_refusal(completion), step=step)
        if not completion.tool_calls and not completion.text.strip():
            return Rejected(rule="empty", detail=f"no text and no tool calls; finish_reason is {reason!r}", step=step)
        if reason not in self._finish_reasons:
            allowed = ", ".join(self._section.finish_reasons)
            detail = f"step {step!r} ended with {reason!r}; finish_reasons allows {allowed}"
            return Rejected(rule="finish_reason", detail=detail, step=step)
        return None


def _refusal(completion: Completion) -> str:
    if not completion.refusal:
        return "the model refused without giving a reason"
    said = completion.refusal
    return f"the model refused: {said if len(said) <= 200 else said[:199] + '…'}"


def _replacement(index: int, rule: ReplaceRule) -> tuple[re.Pattern[str], str]:
    pattern = _compiled(f"clean.replace[{index}].pattern", rule.pattern)
    try:
        pattern.sub(rule.with_, "")  # reads the replacement's group references, matching or not
    except (re.error, IndexError) as error:
        key = f"clean.replace[{index}].with"
        mend = r"refer to groups of the pattern as \1 or \g<name>, and write a backslash as \\"
        raise RecipeError(f"not a replacement ({error})", mend=mend, key=key, value=rule.with_) from error
    return pattern, rule.with_


def _compiled(key: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        mend = "see Python's regular expression syntax; in TOML write it in 'single quotes'"
        raise RecipeError(f"not a regular expression ({error})", mend=mend, key=key, value=pattern) from error
