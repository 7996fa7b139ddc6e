"""What the fine-tuning job will cost, if every row is kept."""

from collections.abc import Iterable, Mapping

import orjson

from tunemill.model import Row
from tunemill.plan.chain import Chain
from tunemill.plan.values import TrainingPlan
from tunemill.pricing import Price
from tunemill.recipe.sections import ChatTrain, CompletionTrain, FineTuneSection, Recipe, TrainSection
from tunemill.templates import Template, Unrenderable, tokens_estimated, values_for

EPOCHS_OF_AUTO = 3
FRAMING_TOKENS_PER_EXAMPLE = 12


def training_of(
    recipe: Recipe, rows: int, some: Iterable[Row], fillers: Mapping[str, str], price: Price | None
) -> TrainingPlan | None:
    """The fine-tuning job over `rows` rows, judged by `some` of them; None where the recipe asks for none."""
    if recipe.fine_tune is None or recipe.train is None:
        return None
    examples = round(rows * Chain.of(recipe.steps).candidates_per_row * (1 - recipe.train.validation_fraction))
    tokens = round(examples * _tokens_per_example(recipe.train, recipe.source.seed, some, fillers))
    epochs = _epochs(recipe.fine_tune)
    cost = None if price is None else price.training_cost(tokens, epochs)
    model = recipe.fine_tune.model
    return TrainingPlan(model=model, examples=examples, tokens=tokens, epochs=epochs, cost=cost, price=price)


def _epochs(section: FineTuneSection) -> int:
    return section.n_epochs if isinstance(section.n_epochs, int) else EPOCHS_OF_AUTO


def _tokens_per_example(train: TrainSection, seed: int, some: Iterable[Row], fillers: Mapping[str, str]) -> float:
    templates = [
        Template.parse(text, key=f"train.{key}")
        for key in train.template_keys
        if (text := getattr(train, key)) is not None
    ]
    counts = [_tokens_of(train, templates, row, seed, fillers) for row in some]
    return sum(counts) / len(counts) if counts else 0.0


def _tokens_of(
    train: TrainSection, templates: Iterable[Template], row: Row, seed: int, fillers: Mapping[str, str]
) -> int:
    values = values_for(row, seed=seed, sample=0, texts=fillers)
    texts = [text for template in templates if not isinstance(text := template.render(values), Unrenderable)]
    if isinstance(train, CompletionTrain):
        texts += [train.separator, train.stop]
    if isinstance(train, ChatTrain) and train.messages is not None:
        texts.append(orjson.dumps(row.fields.get(train.messages)).decode())
    return sum(tokens_estimated(text) for text in texts) + FRAMING_TOKENS_PER_EXAMPLE
