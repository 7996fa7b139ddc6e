"""The examples: each is a whole recipe that works from a checkout."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from tests.house.house_support import RECIPES

from tunemill.model import Json, Row
from tunemill.recipe import LoadedRecipe, check_templates_against, load_recipe
from tunemill.recipe.sections import CompletionTrain, TrainSection
from tunemill.sources import open_source
from tunemill.templates import Template, Unrenderable, values_for

FINE_TUNING_EXAMPLES_MIN = 10
ROWS_LOOKED_AT = 60

each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)


def test_there_is_one_example_for_each_of_the_four_jobs() -> None:
    """A folder in examples/ is a job, and the four jobs of the README are all there."""
    assert [path.parent.name for path in RECIPES] == ["movie-plots", "synopses", "voice", "writing-coach"]


@each_recipe
def test_example_is_named_as_its_folder(path: Path) -> None:
    """The run folder is runs/NAME, so that the README can say where things will be."""
    assert load_recipe(path).recipe.name == path.parent.name


@each_recipe
def test_example_has_enough_rows_and_its_templates_name_only_fields_of_them(path: Path) -> None:
    """The source opens, all of it is readable, and there is more than the least that a fine-tuning job needs."""
    loaded = load_recipe(path)
    source = open_source(loaded.recipe.source, loaded.folder)
    source.check()
    check_templates_against(loaded.recipe, loaded.path, source.fields)
    assert source.count() > FINE_TUNING_EXAMPLES_MIN


@each_recipe
def test_every_template_of_an_example_renders_for_its_rows(path: Path) -> None:
    """No row of an example is set aside because a prompt or a training template cannot be rendered."""
    loaded = load_recipe(path)
    source = open_source(loaded.recipe.source, loaded.folder)
    templates = list(_templates(loaded))
    for row in islice(source.rows(), ROWS_LOOKED_AT):
        rendered = [(template.key, template.render(_values(loaded, row))) for template in templates]
        assert not [text for _, text in rendered if isinstance(text, Unrenderable)]
        assert all(text for key, text in rendered if key != "train.completion")


@each_recipe
def test_example_goes_all_the_way_under_a_budget(path: Path) -> None:
    """Each example can be run to a tuned model, and none without a cap on what that may cost."""
    recipe = load_recipe(path).recipe
    assert recipe.budget is not None
    assert recipe.train is not None
    assert recipe.fine_tune is not None


def test_some_story_is_long_enough_to_be_cut_and_the_prompt_says_so() -> None:
    """The writing coach shows what truncation does: a long story's prompt ends with the note, and a short one's not."""
    loaded = load_recipe(_recipe_of("writing-coach"))
    prompt = Template.parse(loaded.recipe.steps[0].prompt, key="steps[0].prompt")
    rows = open_source(loaded.recipe.source, loaded.folder).rows()
    prompts = [str(prompt.render(_values(loaded, row))) for row in rows]
    cut = [text for text in prompts if "[The rest of the story is left out.]" in text]
    assert 0 < len(cut) < len(prompts)


def test_the_synopses_show_what_cleaning_is_for() -> None:
    """The table has rows of every kind that its rules are there to find."""
    loaded = load_recipe(_recipe_of("synopses"))
    texts = [str(row.fields["synopsis"]) for row in open_source(loaded.recipe.source, loaded.folder).rows()]
    assert any("coming soon" in text.lower() for text in texts)
    assert "" in texts
    assert any(0 < len(text) < loaded.recipe.clean.min_chars for text in texts)
    assert any(text.endswith("(Repeat)") for text in texts)


def test_the_synopses_separator_and_stop_are_in_no_text() -> None:
    """What ends the prompt and the completion is found nowhere else, so a base model can learn where to stop."""
    loaded = load_recipe(_recipe_of("synopses"))
    train = loaded.recipe.train
    assert isinstance(train, CompletionTrain)
    for row in open_source(loaded.recipe.source, loaded.folder).rows():
        together = f"{row.fields['title']}\n{row.fields['synopsis']}"
        assert train.separator not in together
        assert train.stop not in together


def test_the_voice_has_conversations_of_several_turns() -> None:
    """A field with whole conversations may hold more than one question, and the example shows it."""
    loaded = load_recipe(_recipe_of("voice"))
    lengths = []
    for row in open_source(loaded.recipe.source, loaded.folder).rows():
        messages = row.fields["messages"]
        assert isinstance(messages, list)
        lengths.append(len(messages))
    assert min(lengths) == 3
    assert max(lengths) > 3


def _recipe_of(name: str) -> Path:
    return next(path for path in RECIPES if path.parent.name == name)


def _templates(loaded: LoadedRecipe) -> Iterator[Template]:
    for step in loaded.recipe.steps:
        for key, text in (("system", step.system), ("prompt", step.prompt)):
            if text is not None:
                yield Template.parse(text, key=f"{step.name}.{key}", file=loaded.path)
    if loaded.recipe.train is not None:
        yield from _train_templates(loaded.recipe.train, loaded.path)


def _train_templates(train: TrainSection, path: Path) -> Iterator[Template]:
    for key in sorted(train.template_keys):
        text = getattr(train, key)
        if text is not None:
            yield Template.parse(text, key=f"train.{key}", file=path)


def _values(loaded: LoadedRecipe, row: Row) -> dict[str, Json]:
    texts = {step.name: f"what {step.name} answered" for step in loaded.recipe.steps}
    return values_for(row, seed=1, sample=0, texts=texts)
