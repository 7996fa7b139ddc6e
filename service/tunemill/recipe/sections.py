"""The recipe's sections as frozen values, one class a table of the TOML file. Unknown keys are refused.

What is wrong with one value is said here by types and ranges; what only two values together can get wrong is said in
`recipe.rules`. Read recipes with `load_recipe`: only it gives messages that a person can act on.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_API_KEY_ENV = "OPENAI_API_KEY"


class Section(BaseModel):
    """Base of all sections: immutable, and nothing is accepted that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, protected_namespaces=())

    template_keys: ClassVar[frozenset[str]] = frozenset()
    """The keys that hold templates; each may be given as KEY_file instead."""


class ProviderSection(Section):
    """`[provider]` and `[providers.NAME]`: who answers. The key itself is only ever in the environment."""

    base_url: str | None = None  # None: OPENAI_BASE_URL, then the hosted API
    api_key_env: str = DEFAULT_API_KEY_ENV


class GridSource(Section):
    """Every combination of the axes, the last axis fastest; with `sample`, so many of them drawn with the seed."""

    kind: Literal["grid"]
    axes: Mapping[str, list[JsonValue]]
    sample: int | None = Field(default=None, ge=1)
    seed: int = 0


class FilesSource(Section):
    """Text files by glob, in sorted order. Fields: text, path, name. Relative to the recipe, or to `folder`."""

    kind: Literal["files"]
    paths: list[str] = Field(min_length=1)
    folder: str | None = None
    sample: int | None = Field(default=None, ge=1)
    seed: int = 0


class TableSource(Section):
    """A CSV, TSV or JSONL file; the columns are the fields. Relative to the recipe, or to `folder`."""

    kind: Literal["table"]
    path: str = Field(min_length=1)
    folder: str | None = None
    sample: int | None = Field(default=None, ge=1)
    seed: int = 0


SourceSection: TypeAlias = Annotated[GridSource | FilesSource | TableSource, Field(discriminator="kind")]


class StepSection(Section):
    """`[[steps]]`: one prompt template with its model and parameters.

    After loading, `prompt` and `system` hold the templates' text, also where the recipe named files.
    """

    template_keys = frozenset({"prompt", "system"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    model: str = Field(min_length=1)
    provider: str = ""  # "" is [provider]
    endpoint: Literal["chat", "completions"] = "chat"
    prompt: str
    system: str | None = None
    samples: int = Field(default=1, ge=1, le=10_000)
    params: Mapping[str, JsonValue] = Field(default_factory=dict)


class ModelLimits(Section):
    """`[limits.models.NAME]`: what overrides `[limits]` for one model."""

    requests_per_minute: float | None = Field(default=None, gt=0, le=1e9)
    tokens_per_minute: float | None = Field(default=None, gt=0, le=1e12)
    concurrency: int | None = Field(default=None, ge=1, le=100_000)


class LimitsSection(Section):
    """`[limits]`, for each model of each provider separately."""

    requests_per_minute: float | None = Field(default=None, gt=0, le=1e9)
    tokens_per_minute: float | None = Field(default=None, gt=0, le=1e12)
    concurrency: int = Field(default=256, ge=1, le=100_000)
    attempts_max: int = Field(default=6, ge=1, le=1000)
    timeout_s: float = Field(default=120.0, gt=0, le=86_400)
    outage_max_s: float = Field(default=1800.0, gt=0, le=1e7)
    models: Mapping[str, ModelLimits] = Field(default_factory=dict)


class BudgetSection(Section):
    """`[budget]`: hard, for generation, evaluation and training together."""

    usd: float = Field(gt=0, le=1_000_000_000)


class PriceSection(Section):
    """`[pricing.MODEL]`: dollars per million tokens, for models that the price table does not know."""

    input_per_million: float = Field(ge=0, le=1e6)
    output_per_million: float = Field(ge=0, le=1e6)
    cached_input_per_million: float | None = Field(default=None, ge=0, le=1e6)
    training_per_million: float | None = Field(default=None, ge=0, le=1e6)


class ReplaceRule(Section):
    """`replace = [{ pattern, with }]`: a regular expression and what stands in its place."""

    pattern: str
    with_: str = Field(alias="with")


class RejectRule(Section):
    """`reject = [{ name, matches }]`: the recipe's own rule."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    matches: str


class CleanSection(Section):
    """`[clean]`: what is mended and what is thrown out."""

    strip: bool = True
    replace: list[ReplaceRule] = Field(default_factory=list)
    reject: list[RejectRule] = Field(default_factory=list)
    min_chars: int = Field(default=1, ge=0)
    max_chars: int | None = Field(default=None, ge=1)
    finish_reasons: list[str] = Field(default_factory=lambda: ["stop", "tool_calls"], min_length=1)


class ChatTrain(Section):
    """`[train] format = "chat"`. Either templates (system, user, assistant) or `messages`, the name of a row field that
    holds a whole list of messages (an example already)."""

    template_keys = frozenset({"system", "user", "assistant"})

    format: Literal["chat"] = "chat"
    system: str | None = None
    user: str | None = None
    assistant: str | None = None
    messages: str | None = None
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0


class CompletionTrain(Section):
    """`[train] format = "completion"`: a prompt that ends with `separator`, a completion that ends with `stop`."""

    template_keys = frozenset({"prompt", "completion"})

    format: Literal["completion"]
    prompt: str
    completion: str
    separator: str = Field(default="\n\n###\n\n", min_length=1)
    stop: str = Field(default=" END", min_length=1)
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0


class PreferenceTrain(Section):
    """`[train] format = "preference"`: one input and two answers, the preferred one and the other."""

    template_keys = frozenset({"system", "user", "preferred", "non_preferred"})

    format: Literal["preference"]
    system: str | None = None
    user: str
    preferred: str
    non_preferred: str
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0


TrainSection: TypeAlias = Annotated[ChatTrain | CompletionTrain | PreferenceTrain, Field(discriminator="format")]


class FineTuneSection(Section):
    """`[fine_tune]`: what the target is asked for. `provider` "" is [provider]."""

    model: str = Field(min_length=1)
    provider: str = ""
    suffix: str | None = Field(default=None, min_length=1, max_length=64)
    method: Literal["supervised", "dpo"] = "supervised"
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    beta: Annotated[float, Field(gt=0, le=2)] | Literal["auto"] = "auto"
    seed: int | None = None
    wandb_project: str | None = None


Occasion: TypeAlias = Literal["started", "finished", "budget_reached", "failed", "interrupted", "stalled"]


class NotifySection(Section):
    """`[notify]`: what is told outside, through a webhook. Its address is a secret, and only ever in the environment.

    `stalled_after_s` None: ten minutes, or as long as one answer may take, whichever is longer.
    """

    webhook_env: str = Field(min_length=1)
    on: list[Occasion] = Field(default=["finished", "budget_reached", "failed", "stalled"], min_length=1)
    stalled_after_s: float | None = Field(default=None, ge=1, le=604_800)


class Recipe(Section):
    """A whole recipe, loaded and checked."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    provider: ProviderSection = ProviderSection()
    providers: Mapping[str, ProviderSection] = Field(default_factory=dict)
    source: SourceSection
    steps: list[StepSection] = Field(default_factory=list)
    limits: LimitsSection = LimitsSection()
    budget: BudgetSection | None = None
    pricing: Mapping[str, PriceSection] = Field(default_factory=dict)
    clean: CleanSection = CleanSection()
    train: TrainSection | None = None
    fine_tune: FineTuneSection | None = None
    notify: NotifySection | None = None
