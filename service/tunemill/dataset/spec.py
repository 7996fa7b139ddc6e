"""What a build is told: the recipe's say in it, and the callables that come from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunemill.dataset.assemble import Names
from tunemill.dataset.formats import Compile
from tunemill.model import Json
from tunemill.recipe.sections import CleanSection, TrainSection


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """What to build.

    `compile_template` makes templates of texts, `names` gives what they see of a row. `tools` are what the last step
    declared to its model; chat examples made from templates declare the same. `base_model` is "" where nothing is to be
    tuned. `fingerprint` is the caller's own word for all that the dataset depends on; `is_current` compares it.
    """

    recipe: str
    clean: CleanSection
    train: TrainSection
    compile_template: Compile
    names: Names
    fingerprint: str
    base_model: str = ""
    tools: Sequence[Json] = ()
