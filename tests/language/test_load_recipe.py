"""Loading a recipe from files: what cannot be read, what stands beside it, and what comes out."""

import os
from pathlib import Path

import pytest
from tests.language.recipes import GOOD, changed, write

from tunemill.errors import RecipeError
from tunemill.recipe import check_templates_against, check_under_budget, load_recipe
from tunemill.recipe.load import RECIPE_BYTES_MAX
from tunemill.recipe.sections import ChatTrain, GridSource

# The whole of what a recipe can say.
EVERYTHING = r"""
name = "movie-plots"

[provider]
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"
[providers.judge]
base_url = "http://vllm.internal:8000/v1"
api_key_env = "VLLM_API_KEY"

[source]
kind = "grid"
sample = 3
seed = 7
[source.axes]
genre    = ["science fiction", "horror", "western"]
place    = ["India", "France"]
year     = [1920, 1999.5, true]

[[steps]]
name = "outline"
model = "gpt-4o-mini"
system = "You are a novelist who plots before writing."
prompt = '''
{{ entropy }}
Imagine a {{ genre }} film set in {{ place }} in {{ year }}.
'''
samples = 2
[steps.params]
temperature = 1.0
max_tokens = 1000
stop = ["END"]
response_format = { type = "text" }

[[steps]]
name = "expanded"
model = "gpt-4o"
provider = "judge"
prompt = "Expand this plot:\n\n{{ outline | truncate_tokens(500) }}"
[steps.params]
max_completion_tokens = 900

[limits]
requests_per_minute = 500
tokens_per_minute = 200_000
concurrency = 256
attempts_max = 6
timeout_s = 120
[limits.models."gpt-4o"]
requests_per_minute = 100

[budget]
usd = 25.00

[pricing."my-model"]
input_per_million = 0.10
output_per_million = 0.40

[clean]
strip = true
replace = [{ pattern = '^Feedback:\s*', with = "" }]
reject = [{ name = "placeholder", matches = '(?i)coming soon' }]
min_chars = 200
max_chars = 8000
finish_reasons = ["stop"]

[train]
format = "chat"
system = "You write plot outlines."
user = "Genre: {{ genre }}\nLocation: {{ place }}"
assistant = "{{ expanded }}"
validation_fraction = 0.1
seed = 7

[fine_tune]
model = "gpt-4o-mini-2024-07-18"
suffix = "movie-plots"
method = "supervised"
n_epochs = 3
batch_size = "auto"
learning_rate_multiplier = 0.5
seed = 7
wandb_project = "movie-plots"
"""


def fails(path: Path) -> str:
    """The message with which the recipe at `path` is refused."""
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    return str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong name is told with the whole path that was tried."""
    expected = f"{tmp_path}/none.toml: there is no such file; check the name and the folder"
    assert fails(tmp_path / "none.toml") == expected


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    """Naming the folder instead of the file says so."""
    assert fails(tmp_path) == f"{tmp_path}: is a folder; name the file of a recipe in it"


def test_a_pipe_is_no_recipe(tmp_path: Path) -> None:
    """A pipe would be waited for forever; it is refused."""
    os.mkfifo(tmp_path / "pipe")
    assert fails(tmp_path / "pipe").endswith("is no regular file; write a recipe to a file")


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    """The byte and the line are named, so that an editor finds them."""
    path = tmp_path / "recipe.toml"
    path.write_bytes(b'name = "r"\n# caf\xe9\n')
    assert fails(path) == f"{path}:2: byte 17 is not UTF-8; save the file as UTF-8"


def test_an_absurdly_large_file_is_not_read(tmp_path: Path) -> None:
    """A data file given by mistake is refused by its size, before it is read."""
    path = tmp_path / "recipe.toml"
    with path.open("wb") as file:
        file.truncate(RECIPE_BYTES_MAX + 1)
    assert fails(path) == f"{path}: has more than 16,777,216 bytes; is it a recipe? keep data in a source file"


def test_deep_nesting_is_a_message_and_no_crash(tmp_path: Path) -> None:
    """Ten thousand brackets do not end in a traceback."""
    assert "nested too deeply" in fails(write(tmp_path, "name = " + "[" * 10_000 + "]" * 10_000))


def test_everything_that_a_recipe_can_say_is_understood(tmp_path: Path) -> None:
    """Each key of the documentation's example arrives under its name."""
    recipe = load_recipe(write(tmp_path, EVERYTHING)).recipe
    assert isinstance(recipe.source, GridSource)
    assert recipe.source.axes["year"] == [1920, 1999.5, True]
    assert [step.name for step in recipe.steps] == ["outline", "expanded"]
    assert recipe.steps[0].params["response_format"] == {"type": "text"}
    assert recipe.limits.models["gpt-4o"].requests_per_minute == 100
    assert recipe.budget is not None
    assert recipe.budget.usd == 25
    assert recipe.clean.replace[0].with_ == ""
    assert isinstance(recipe.train, ChatTrain)
    assert recipe.fine_tune is not None
    assert recipe.fine_tune.n_epochs == 3


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    """The same recipe saved on Windows is the same recipe."""
    windows = tmp_path / "windows.toml"
    windows.write_bytes(b"\xef\xbb\xbf" + EVERYTHING.replace("\n", "\r\n").encode())
    assert load_recipe(windows).recipe == load_recipe(write(tmp_path, EVERYTHING)).recipe


def test_a_train_section_without_a_format_is_chat(tmp_path: Path) -> None:
    """`format` may be left out."""
    assert isinstance(load_recipe(write(tmp_path)).recipe.train, ChatTrain)


def test_a_template_is_read_from_a_file_beside_the_recipe(tmp_path: Path) -> None:
    """`prompt_file` puts the file's text under `prompt`, whatever folder the process is in."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "plot.txt").write_bytes(b"Plot a {{ genre }} film.\r\nIn full.\r\n")
    path = write(tmp_path, changed('prompt = "Plot a {{ genre }} film."', 'prompt_file = "prompts/plot.txt"'))
    assert load_recipe(path).recipe.steps[0].prompt == "Plot a {{ genre }} film.\nIn full.\n"


def test_every_template_key_of_train_may_be_a_file(tmp_path: Path) -> None:
    """`user_file`, `assistant_file` and `system_file` work as `prompt_file` does."""
    for name, text in (("s.txt", "Be brief."), ("u.txt", "{{ genre }}"), ("a.txt", "{{ outline }}")):
        (tmp_path / name).write_text(text)
    files = 'system_file = "s.txt"\nuser_file = "u.txt"\nassistant_file = "a.txt"\n'
    path = write(tmp_path, changed('user = "{{ genre }}"\nassistant = "{{ outline }}"\n', files))
    train = load_recipe(path).recipe.train
    assert isinstance(train, ChatTrain)
    assert (train.system, train.user, train.assistant) == ("Be brief.", "{{ genre }}", "{{ outline }}")


def test_a_mistake_in_a_template_file_is_told_under_its_key(tmp_path: Path) -> None:
    """The message has the place in the recipe and the line of the template."""
    (tmp_path / "plot.txt").write_text("Plot\na {{ gnere }} film.")
    path = write(tmp_path, changed('prompt = "Plot a {{ genre }} film."', 'prompt_file = "plot.txt"'))
    expected = f"{path}: steps[0].prompt: it uses {{{{ gnere }}}}, which no row has; did you mean {{{{ genre }}}}?"
    assert fails(path) == expected


def test_several_mistakes_are_told_at_once_a_line_each(tmp_path: Path) -> None:
    """Two mistakes in two sections make a message of two lines, each complete."""
    path = write(
        tmp_path,
        changed("usd = 1.0", "usd = -1").replace("max_tokens = 100", "max_tokens = 1\n[limits]\nconcurrency = 0"),
    )
    assert fails(path).splitlines() == [
        f"{path}: budget.usd = -1: must be more than 0; write a number that is more than 0",
        f"{path}: limits.concurrency = 0: must be at least 1; write a number that is at least 1",
    ]


def test_the_columns_of_a_table_are_checked_when_they_are_known(tmp_path: Path) -> None:
    """A recipe over a table loads unchecked, and a wrong column is told once the table's columns are known."""
    source = 'kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]'
    text = changed(source, 'kind = "table"\npath = "t.csv"').replace("{{ genre }} film", "{{ Film Title }} film")
    assert "a column whose name is not one word" in fails(write(tmp_path, text))
    loaded = load_recipe(write(tmp_path, text.replace("{{ Film Title }}", "{{ row['Film Title'] }} {{ titel }}")))
    with pytest.raises(RecipeError, match="titel") as raised:
        check_templates_against(loaded.recipe, loaded.path, ("Film Title", "title", "genre"))
    assert str(raised.value).endswith("it uses {{ titel }}, which no row has; did you mean {{ title }}?")
    check_templates_against(loaded.recipe, loaded.path, ("Film Title", "titel", "genre"))


def test_a_column_may_not_hide_a_step(tmp_path: Path) -> None:
    """Where a column has a step's name, a template could mean either: it is refused."""
    text = changed('kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]', 'kind = "table"\npath = "t.csv"')
    loaded = load_recipe(write(tmp_path, text))
    with pytest.raises(RecipeError, match="a field of the rows has this name too"):
        check_templates_against(loaded.recipe, loaded.path, ("genre", "outline"))


def test_a_budget_given_elsewhere_has_the_same_rules(tmp_path: Path) -> None:
    """With `--budget`, a recipe without [budget] must bound its answers too."""
    text = changed("[budget]\nusd = 1.0\n", "").replace("max_tokens = 100", "temperature = 1.0")
    loaded = load_recipe(write(tmp_path, text))
    with pytest.raises(RecipeError, match="under a budget every step sets max_tokens"):
        check_under_budget(loaded)


def test_the_smallest_recipe_of_examples_needs_no_step(tmp_path: Path) -> None:
    """Rows that are examples already need a source and [train] alone."""
    text = 'name = "voice"\n[source]\nkind = "table"\npath = "v.jsonl"\n[train]\nmessages = "messages"\n'
    loaded = load_recipe(write(tmp_path, text))
    check_templates_against(loaded.recipe, loaded.path, ("messages",))
    with pytest.raises(RecipeError, match="no row has this field"):
        check_templates_against(loaded.recipe, loaded.path, ("text",))


def test_relative_paths_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is the recipe's own, wherever the process is; `folder` in [source] is relative to it."""
    text = changed('kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]', 'kind = "files"\npaths = ["*"]')
    text = text.replace("{{ genre }}", "{{ text }}")
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", text)
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("deep/recipe.toml")).folder == tmp_path / "deep"
    write(tmp_path / "deep", text.replace('paths = ["*"]', 'paths = ["*"]\nfolder = "../stories"'))
    assert load_recipe(Path("deep/recipe.toml")).folder == tmp_path / "deep/../stories"
    assert text != GOOD
