"""From a candidate to an example, or to the name of the rule that left it out. Pure: cleaning, then formatting."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tunemill.dataset.clean import Cleaner, Rejected
from tunemill.dataset.formats import Example, Format, Material, Unfit
from tunemill.model import Candidate, Json, Row

Names: TypeAlias = Callable[[Row, int], dict[str, Json]]
"""Makes what templates see of a row and a sample: its fields, row_id, sample, entropy. Steps' texts are added here."""


class Assembler:
    """Cleans and formats one candidate after the other, each for itself."""

    __slots__ = ("_cleaner", "_format", "_names")

    def __init__(self, *, cleaner: Cleaner, to_format: Format, names: Names) -> None:
        self._cleaner = cleaner
        self._format = to_format
        self._names = names

    def assemble(self, candidate: Candidate) -> Example | Rejected:
        """One bad row never raises: whatever its texts and templates do has a rule's name."""
        verdict = self._cleaner.judge_completions(candidate)
        if isinstance(verdict, Rejected):
            return verdict
        try:
            return self._formatted(candidate, verdict)
        except Unfit as unfit:
            return Rejected(rule=unfit.rule, detail=unfit.detail)

    def _formatted(self, candidate: Candidate, texts: Mapping[str, str]) -> Example | Rejected:
        names = self._names(candidate.row, candidate.sample)
        names.update(texts)
        tool_calls = candidate.last.tool_calls if candidate.answers else ()
        material = Material(row=candidate.row, names=names, tool_calls=tool_calls)
        targets = self._format.targets(material)
        if not candidate.answers:  # nothing was generated, so nothing was mended yet
            targets = tuple(self._cleaner.mend(target) for target in targets)
        is_tool_call = self._format.is_tool_call(targets[0], material)
        objection = self._cleaner.judge_target(targets[0], is_tool_call=is_tool_call)
        return self._format.example(material, targets) if objection is None else objection
