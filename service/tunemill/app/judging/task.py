"""What it takes to judge a portion of a run: the same in whichever process it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tunemill.app.candidates import Portion, candidates_of
from tunemill.dataset import BuildSpec, Judge, Judged, Limits, Names
from tunemill.engine import Step
from tunemill.journal import LineReader
from tunemill.recipe import Recipe
from tunemill.recipe.sections import TrainSection
from tunemill.templates import Template, values_for

JudgePortion: TypeAlias = Callable[[Portion, Limits], Judged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that has to be known, and nothing that could not be told to another process.

    `journal` is the folder of its segments, `file` the recipe's, for messages.
    """

    journal: Path
    steps: tuple[Step, ...]
    recipe: Recipe
    train: TrainSection
    file: Path

    def judge_with(self, reader: LineReader) -> JudgePortion:
        """Judges portions of lines that this reader reads; raises RunFolderError for one that is damaged.

        Raises RecipeError where a template or an expression is malformed.
        """
        judge = Judge(spec_of(self.recipe, self.train, self.file))
        return lambda portion, limits: judge.judge(candidates_of(portion, self.steps, reader), limits)


def spec_of(recipe: Recipe, train: TrainSection, file: Path, *, fingerprint: str = "") -> BuildSpec:
    """What a recipe says to the dataset stage; `train` is its own."""
    tools = recipe.steps[-1].params.get("tools") if recipe.steps else None
    return BuildSpec(
        recipe=recipe.name,
        clean=recipe.clean,
        train=train,
        compile_template=lambda text, key: Template.parse(text, key=key, file=file).render,
        names=_names(recipe, train, file),
        fingerprint=fingerprint,
        base_model=recipe.fine_tune.model if recipe.fine_tune else "",
        tools=tools if isinstance(tools, list) else (),
    )


def _names(recipe: Recipe, train: TrainSection, file: Path) -> Names:
    """What the templates of `[train]` see. `entropy` only where one of them does: it takes as long as to render one."""
    texts = (getattr(train, key) for key in train.template_keys)
    has_entropy = any("entropy" in Template.parse(text, key="train", file=file).names for text in texts if text)
    seed = recipe.source.seed
    return lambda row, sample: values_for(row, seed=seed, sample=sample, with_entropy=has_entropy)
