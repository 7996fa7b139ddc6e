"""Every mistake that a recipe can have, with the whole message that a person reads.

The table is to be read by eye: would a stranger know from the message alone what to change, and where?
"""

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.language.recipes import GOOD, changed, write

from tunemill.errors import RecipeError
from tunemill.recipe import load_recipe

STEP = '[[steps]]\nname = "{}"\nmodel = "m"\nprompt = "x"\nparams.max_tokens = 1\n'
FINE_TUNE = '[fine_tune]\nmodel = "m"\n'


class Case(NamedTuple):
    """A recipe and what is said about it; FOLDER stands for where it is."""

    mistake: str
    recipe: str
    message: str


CASES = [
    Case(
        "syntax",
        changed('kind = "grid"', "kind = grid"),
        "FOLDER/recipe.toml:3: not TOML: invalid value at column 8; "
        'texts stand in quotes, a key stands once in its table, between "double" quotes \\ is written \\\\',
    ),
    Case(
        "duplicate key",
        changed('name = "r"', 'name = "r"\nname = "s"'),
        "FOLDER/recipe.toml:2: not TOML: cannot overwrite a value at column 11; "
        'texts stand in quotes, a key stands once in its table, between "double" quotes \\ is written \\\\',
    ),
    Case(
        "unclosed",
        GOOD + 'x = "abc',
        "FOLDER/recipe.toml: not TOML: unterminated string at the end of the file; "
        'texts stand in quotes, a key stands once in its table, between "double" quotes \\ is written \\\\',
    ),
    Case(
        "empty",
        "  \n",
        "FOLDER/recipe.toml: the file is empty; start from `tunemill init NAME`",
    ),
    Case(
        "unknown top",
        GOOD + '[step]\nname="x"\n',
        "FOLDER/recipe.toml: step: unknown key; did you mean steps?",
    ),
    Case(
        "unknown key near",
        changed('model = "gpt', 'modle = "gpt'),
        "FOLDER/recipe.toml: steps[0].modle: unknown key; did you mean model?",
    ),
    Case(
        "unknown key far",
        changed("usd = 1.0", "usd = 1.0\nblurb = 3"),
        "FOLDER/recipe.toml: budget.blurb: unknown key; known here: usd",
    ),
    Case(
        "rpm",
        GOOD + "[limits]\nrpm = 3\n",
        "FOLDER/recipe.toml: limits.rpm: unknown key; did you mean requests_per_minute?",
    ),
    Case(
        "param outside",
        changed("prompt =", "temperature = 1.0\nprompt ="),
        "FOLDER/recipe.toml: steps[0].temperature: unknown key; "
        "known here: endpoint, model, name, params, prompt, provider, samples, system; what is sent to the "
        "model stands in [steps.params]",
    ),
    Case(
        "files key in grid",
        changed('kind = "grid"', 'kind = "grid"\npaths = ["a"]'),
        'FOLDER/recipe.toml: source.paths: unknown key; it belongs to kind = "files"',
    ),
    Case(
        "completion key in chat",
        changed("[train]", '[train]\nseparator = "x"'),
        'FOLDER/recipe.toml: train.separator: unknown key; it belongs to format = "completion"',
    ),
    Case(
        "no name",
        changed('name = "r"\n', ""),
        'FOLDER/recipe.toml: name: is missing; write name = "my-run" at the top',
    ),
    Case(
        "bad name",
        changed('name = "r"', 'name = "my run"'),
        "FOLDER/recipe.toml: name = 'my run': has characters that it may not have; "
        "use letters, digits, . _ and -, at most 64, starting with a letter or a digit",
    ),
    Case(
        "no source",
        "name='r'\n[train]\nuser='x'\nassistant='y'\n",
        'FOLDER/recipe.toml: source: is missing; write a [source] table with kind = "grid", "files" or "table"',
    ),
    Case(
        "no kind",
        changed('kind = "grid"\n', ""),
        'FOLDER/recipe.toml: source.kind: is missing; write a [source] table with kind = "grid", "files" or "table"',
    ),
    Case(
        "kind",
        changed('kind = "grid"', 'kind = "reddit"'),
        'FOLDER/recipe.toml: source.kind = \'reddit\': there is no such kind; write "grid", "files" or "table"',
    ),
    Case(
        "source list",
        changed('[source]\nkind = "grid"\n[source.axes]\n', '[[source]]\nkind = "grid"\n'),
        "FOLDER/recipe.toml: source = [{'kind': 'grid', 'genre': ['horror', 'western']}]: must be a table; "
        'write one [source] table with kind = "grid", "files" or "table"',
    ),
    Case(
        "no axes",
        changed('[source.axes]\ngenre = ["horror", "western"]\n', ""),
        "FOLDER/recipe.toml: source.axes: is missing; "
        'write [source.axes] with a list for each axis, such as genre = ["horror", "western"]',
    ),
    Case(
        "axis not list",
        changed('["horror", "western"]', '"horror"'),
        "FOLDER/recipe.toml: source.axes.genre = 'horror': must be a list; write it in [brackets]",
    ),
    Case(
        "axis empty",
        changed('["horror", "western"]', "[]"),
        "FOLDER/recipe.toml: source.axes.genre = []: the axis is empty; give it at least one value, or remove it",
    ),
    Case(
        "axis twice",
        changed('["horror", "western"]', '["horror", "western", "horror"]'),
        "FOLDER/recipe.toml: source.axes.genre = 'horror': is there twice; remove one of them",
    ),
    Case(
        "axis nested",
        changed('["horror", "western"]', '[["horror"]]'),
        "FOLDER/recipe.toml: source.axes.genre = ['horror']: is not a single value; "
        'write texts, numbers, true or false, such as ["India", "France"]',
    ),
    Case(
        "axis builtin",
        changed('genre = ["h', 'row_id = [1]\ngenre = ["h'),
        "FOLDER/recipe.toml: source.axes.row_id: this name has a meaning of its own in templates; "
        "call the axis something else",
    ),
    Case(
        "sample 0",
        changed('kind = "grid"', 'kind = "grid"\nsample = 0'),
        "FOLDER/recipe.toml: source.sample = 0: must be at least 1; write a number that is at least 1",
    ),
    Case(
        "sample text",
        changed('kind = "grid"', 'kind = "grid"\nsample = "12"'),
        "FOLDER/recipe.toml: source.sample = '12': must be a whole number; write it without quotes and without a point",
    ),
    Case(
        "steps table",
        changed("[[steps]]", "[steps]"),
        "FOLDER/recipe.toml: steps = {'name': 'outline', 'model': 'gpt-4o-mini', 'prompt': 'Plot a {{ "
        "genre }} fil...: must be a list; "
        "write each step as [[steps]], with two brackets",
    ),
    Case(
        "no prompt",
        changed('prompt = "Plot a {{ genre }} film."\n', ""),
        "FOLDER/recipe.toml: steps[0].prompt: is missing; "
        "write prompt, or prompt_file with the name of a file beside the recipe",
    ),
    Case(
        "empty prompt",
        changed('"Plot a {{ genre }} film."', '" "'),
        "FOLDER/recipe.toml: steps[0].prompt = ' ': is empty; write what the model is asked",
    ),
    Case(
        "step name",
        changed('name = "outline"', 'name = "Outline 1"'),
        "FOLDER/recipe.toml: steps[0].name = 'Outline 1': has characters that it may not have; "
        "use small letters, digits and _, starting with a letter: later templates call it by this name",
    ),
    Case(
        "step twice",
        GOOD.replace("[budget]", STEP.format("outline") + "[budget]"),
        "FOLDER/recipe.toml: steps[1].name = 'outline': steps[0] has this name already; "
        "give each step a name of its own",
    ),
    Case(
        "step shadows",
        GOOD.replace("[budget]", STEP.format("genre") + "[budget]"),
        "FOLDER/recipe.toml: steps[1].name = 'genre': a field of the rows has this name too; "
        "call the step something else",
    ),
    Case(
        "step builtin",
        GOOD.replace("[budget]", STEP.format("entropy") + "[budget]"),
        "FOLDER/recipe.toml: steps[1].name = 'entropy': this name has a meaning of its own in templates; "
        "call the step something else",
    ),
    Case(
        "template syntax",
        changed("{{ genre }} film", "{{ genre film"),
        "FOLDER/recipe.toml: steps[0].prompt: line 1 of this template: expected token 'end of print "
        "statement', got 'film'; "
        "templates are Jinja2: names stand in {{ }}, statements in {% %}, and a column whose name is not "
        'one word is {{ row["Column Name"] }}',
    ),
    Case(
        "template spaces",
        changed("{{ genre }} film", "{{ film genre }}"),
        "FOLDER/recipe.toml: steps[0].prompt: line 1 of this template: expected token 'end of print "
        "statement', got 'genre'; "
        "templates are Jinja2: names stand in {{ }}, statements in {% %}, and a column whose name is not "
        'one word is {{ row["Column Name"] }}',
    ),
    Case(
        "template unknown near",
        changed("{{ genre }} film", "{{ gente }} film"),
        "FOLDER/recipe.toml: steps[0].prompt: it uses {{ gente }}, which no row has; did you mean {{ genre }}?",
    ),
    Case(
        "template unknown far",
        changed("{{ genre }} film", "{{ episode }} film"),
        "FOLDER/recipe.toml: steps[0].prompt: it uses {{ episode }}, which no row has; "
        "known here: genre, entropy, row, row_id, sample",
    ),
    Case(
        "template filter",
        changed("{{ genre }} film", "{{ genre|truncate_char(9) }} film"),
        "FOLDER/recipe.toml: steps[0].prompt: line 1 of this template: there is no filter 'truncate_char'; "
        "did you mean truncate_chars?",
    ),
    Case(
        "template later",
        changed("{{ genre }} film", "{{ outline }} film"),
        "FOLDER/recipe.toml: steps[0].prompt: it uses {{ outline }}, the text of a step that comes later "
        "or of the step itself; "
        "a step may use the steps above it: change their order",
    ),
    Case(
        "train unknown",
        changed("{{ outline }}", "{{ outlines }}"),
        "FOLDER/recipe.toml: train.assistant: it uses {{ outlines }}, which no row has; did you mean {{ outline }}?",
    ),
    Case(
        "row key",
        changed("{{ genre }} film", "{{ row['Genre'] }} film"),
        'FOLDER/recipe.toml: steps[0].prompt: it uses {{ row["Genre"] }}, which no row has; did you mean {{ genre }}?',
    ),
    Case(
        "truncation",
        changed("{{ genre }} film", "{{ genre|truncate_chars(20) }}"),
        "FOLDER/recipe.toml: steps[0].prompt: line 1 of this template: truncate_chars: n = 20 characters "
        "has no room for the marker, which takes 50 characters: ask for more, or give a shorter marker; "
        "templates are Jinja2: names stand in {{ }}, statements in {% %}, and a column whose name is not "
        'one word is {{ row["Column Name"] }}',
    ),
    Case(
        "provider unknown",
        changed('model = "gpt', 'provider = "judge"\nmodel = "gpt'),
        "FOLDER/recipe.toml: steps[0].provider = 'judge': there is no provider of this name; "
        "write [providers.judge] with its base_url (known now: none)",
    ),
    Case(
        "base_url",
        GOOD + '[provider]\nbase_url = "api.openai.com/v1"\n',
        "FOLDER/recipe.toml: provider.base_url = 'api.openai.com/v1': does not start with http:// or "
        "https://; "
        'write an address such as "https://api.openai.com/v1"',
    ),
    Case(
        "base_url endpoint",
        GOOD + '[provider]\nbase_url = "https://h/v1/chat/completions"\n',
        "FOLDER/recipe.toml: provider.base_url = 'https://h/v1/chat/completions': names an endpoint, which "
        "is added to it; "
        'write an address such as "https://api.openai.com/v1"',
    ),
    Case(
        "provider no url",
        GOOD + '[providers.judge]\napi_key_env = "K"\n',
        "FOLDER/recipe.toml: providers.judge.base_url: is missing; "
        'write its address, such as base_url = "http://vllm.internal:8000/v1"',
    ),
    Case(
        "params model",
        changed("max_tokens", 'model = "x"\nmax_tokens'),
        "FOLDER/recipe.toml: steps[0].params.model: may not stand among the parameters; "
        "write model = ... in the step itself",
    ),
    Case(
        "params n",
        changed("max_tokens", "n = 4\nmax_tokens"),
        "FOLDER/recipe.toml: steps[0].params.n = 4: several answers in one reply cannot be told apart when "
        "the run is resumed; "
        "remove it and write samples = N in the step itself",
    ),
    Case(
        "params date",
        changed("max_tokens", "day = 2026-01-01\nmax_tokens"),
        "FOLDER/recipe.toml: steps[0].params.day: is a date or a time, which JSON does not have; "
        'write it in quotes: "2026-01-01"',
    ),
    Case(
        "params nan",
        changed("max_tokens", "temperature = nan\nmax_tokens"),
        "FOLDER/recipe.toml: steps[0].params.temperature = nan: is no number; write a finite number",
    ),
    Case(
        "max_tokens 0",
        changed("max_tokens = 100", "max_tokens = 0"),
        "FOLDER/recipe.toml: steps[0].params.max_tokens = 0: is no number of tokens; "
        "write a whole number from 1 to 10,000,000",
    ),
    Case(
        "no max_tokens",
        changed("max_tokens = 100", "temperature = 1.0"),
        "FOLDER/recipe.toml: steps[0].params: under a budget every step sets max_tokens or "
        "max_completion_tokens, and 'outline' sets none; "
        "write max_tokens = 1000, say: it bounds what one answer can cost",
    ),
    Case(
        "service tier",
        changed("max_tokens", 'service_tier = "priority"\nmax_tokens'),
        "FOLDER/recipe.toml: steps[0].params.service_tier = 'priority': cannot be used under a budget: its "
        "price is another; "
        "remove it, or run without [budget]",
    ),
    Case(
        "web search",
        changed("max_tokens", "web_search_options = {}\nmax_tokens"),
        "FOLDER/recipe.toml: steps[0].params.web_search_options: cannot be used under a budget: searches "
        "are billed beside the tokens; "
        "remove it, or run without [budget]",
    ),
    Case(
        "budget 0",
        changed("usd = 1.0", "usd = 0"),
        "FOLDER/recipe.toml: budget.usd = 0: must be more than 0; write a number that is more than 0",
    ),
    Case(
        "budget text",
        changed("usd = 1.0", 'usd = "25"'),
        "FOLDER/recipe.toml: budget.usd = '25': must be a number; write it without quotes",
    ),
    Case(
        "budget number",
        changed("[budget]\nusd = 1.0\n", "").replace('name = "r"', 'name = "r"\nbudget = 25'),
        "FOLDER/recipe.toml: budget = 25: must be a table; write [budget] with usd = 25.00 below it",
    ),
    Case(
        "concurrency",
        GOOD + "[limits]\nconcurrency = 0\n",
        "FOLDER/recipe.toml: limits.concurrency = 0: must be at least 1; write a number that is at least 1",
    ),
    Case(
        "regex",
        GOOD + "[clean]\nreject = [{ name = 'a', matches = '(x' }]\n",
        "FOLDER/recipe.toml: clean.reject[0].matches = '(x': no regular expression (missing ), "
        "unterminated subpattern at position 0); "
        "correct it; between 'single' quotes TOML leaves every \\ as it is",
    ),
    Case(
        "regex replace",
        GOOD + "[clean]\nreplace = [{ pattern = 'x', with = '\\1' }]\n",
        "FOLDER/recipe.toml: clean.replace[0].with = '\\\\1': no replacement for this pattern (invalid "
        "group reference 1 at position 1); "
        "\\1 is the first (group) of the pattern; a plain \\ is written \\\\",
    ),
    Case(
        "replace key",
        GOOD + "[clean]\nreplace = [{ pattern = 'x', to = '' }]\n",
        "FOLDER/recipe.toml: clean.replace[0].to: unknown key; known here: pattern, with",
    ),
    Case(
        "reserved rule",
        GOOD + "[clean]\nreject = [{ name = 'refusal', matches = 'x' }]\n",
        "FOLDER/recipe.toml: clean.reject[0].name = 'refusal': is the name of a built-in rule; "
        "call the rule something else",
    ),
    Case(
        "min max",
        GOOD + "[clean]\nmin_chars = 9\nmax_chars = 3\n",
        "FOLDER/recipe.toml: clean.max_chars = 3: is less than min_chars = 9, so that nothing would be "
        "kept; "
        "raise it, or lower min_chars",
    ),
    Case(
        "train format",
        changed("[train]", '[train]\nformat = "chta"'),
        "FOLDER/recipe.toml: train.format = 'chta': there is no such format; "
        'write "chat", "completion" or "preference"',
    ),
    Case(
        "train no assistant",
        changed('assistant = "{{ outline }}"\n', ""),
        "FOLDER/recipe.toml: train.assistant: is missing; "
        "write assistant, or messages with the name of the column that holds whole conversations",
    ),
    Case(
        "train messages and user",
        changed("[train]", '[train]\nmessages = "genre"'),
        "FOLDER/recipe.toml: train.messages = 'genre': stands beside user and assistant; "
        "keep messages, or the templates system, user and assistant",
    ),
    Case(
        "separator",
        changed(
            'user = "{{ genre }}"\nassistant = "{{ outline }}"',
            'format = "completion"\nprompt = "{{ genre }}"\ncompletion = "{{ outline }}"\nseparator = ""',
        ),
        "FOLDER/recipe.toml: train.separator = '': is empty; write something, or remove the key",
    ),
    Case(
        "validation",
        changed("[train]", "[train]\nvalidation_fraction = 1.5"),
        "FOLDER/recipe.toml: train.validation_fraction = 1.5: must be less than 1; write a number that is less than 1",
    ),
    Case(
        "ft no train",
        GOOD[: GOOD.index("[train]")] + FINE_TUNE,
        "FOLDER/recipe.toml: fine_tune: there is no [train], so there is nothing to tune with; "
        "write [train] with what the model learns, or remove [fine_tune]",
    ),
    Case(
        "ft dpo",
        GOOD + FINE_TUNE + 'method = "dpo"\n',
        "FOLDER/recipe.toml: fine_tune.method = 'dpo': learns from preferences, and [train] has format = "
        "'chat'; "
        'write format = "preference" in [train], or method = "supervised"',
    ),
    Case(
        "ft method",
        GOOD + FINE_TUNE + 'method = "ppo"\n',
        'FOLDER/recipe.toml: fine_tune.method = \'ppo\': must be "supervised" or "dpo"; write "supervised" or "dpo"',
    ),
    Case(
        "ft beta",
        GOOD + FINE_TUNE + "beta = 0.1\n",
        'FOLDER/recipe.toml: fine_tune.beta = 0.1: only dpo has it; remove it, or write method = "dpo"',
    ),
    Case(
        "ft epochs",
        GOOD + FINE_TUNE + "n_epochs = 99\n",
        'FOLDER/recipe.toml: fine_tune.n_epochs = 99: must be at most 50; write a number that is at most 50, or "auto"',
    ),
    Case(
        "ft epochs text",
        GOOD + FINE_TUNE + 'n_epochs = "three"\n',
        "FOLDER/recipe.toml: fine_tune.n_epochs = 'three': must be a whole number or \"auto\"; "
        'write a whole number or "auto"',
    ),
    Case(
        "ft suffix",
        GOOD + FINE_TUNE + f'suffix = "{"s" * 70}"\n',
        "FOLDER/recipe.toml: fine_tune.suffix = "
        "'ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss': is longer than 64 "
        "characters; "
        "shorten it",
    ),
    Case(
        "key in provider",
        GOOD + '[provider]\napi_key = "hunter2hunter2"\n',
        "FOLDER/recipe.toml: provider.api_key: a key may not be written into a recipe (it is not shown "
        "here); "
        'put it into an environment variable and name that, such as api_key_env = "OPENAI_API_KEY"; if '
        "this file was shared, have the key replaced",
    ),
    Case(
        "key in env",
        GOOD + '[provider]\napi_key_env = "sk-proj-abcdef1234567890abcdef"\n',
        "FOLDER/recipe.toml: provider.api_key_env: is not the name of an environment variable (it is not "
        "shown here, as it may be a key); "
        'put the key into a variable and write its name, such as "OPENAI_API_KEY"; if a key stood here and '
        "the file was shared, have it replaced",
    ),
    Case(
        "key in url",
        GOOD + '[provider]\nbase_url = "https://me:hunter2@h/v1"\n',
        "FOLDER/recipe.toml: provider.base_url: a key may not be written into a recipe (it is not shown "
        "here); "
        'put it into an environment variable and name that, such as api_key_env = "OPENAI_API_KEY"; if '
        "this file was shared, have the key replaced",
    ),
    Case(
        "key in prompt",
        changed("film.", "film. sk-proj-abcdef1234567890abcdef"),
        "FOLDER/recipe.toml: steps[0].prompt: a key may not be written into a recipe (it is not shown "
        "here); "
        'put it into an environment variable and name that, such as api_key_env = "OPENAI_API_KEY"; if '
        "this file was shared, have the key replaced",
    ),
    Case(
        "headers",
        changed("max_tokens", 'extra_headers = { Authorization = "Bearer abcdef" }\nmax_tokens'),
        "FOLDER/recipe.toml: steps[0].params.extra_headers: a key may not be written into a recipe (it is "
        "not shown here); "
        'put it into an environment variable and name that, such as api_key_env = "OPENAI_API_KEY"; if '
        "this file was shared, have the key replaced",
    ),
    Case(
        "nothing to do",
        'name = "r"\n[source]\nkind = "grid"\naxes.a = [1]\n',
        "FOLDER/recipe.toml: steps: the recipe has neither steps nor [train], so there is nothing to do; "
        "write a [[steps]] table, or [train] if the rows are examples already",
    ),
    Case(
        "prompt_file missing",
        changed('prompt = "Plot a {{ genre }} film."', 'prompt_file = "nope.txt"'),
        "FOLDER/recipe.toml: steps[0].prompt_file: FOLDER/nope.txt: there is no such file; "
        "check the name and the folder",
    ),
    Case(
        "both",
        changed('prompt = "P', 'prompt_file = "nope.txt"\nprompt = "P'),
        "FOLDER/recipe.toml: steps[0].prompt_file = 'nope.txt': stands beside prompt, which says the same; "
        "keep prompt or prompt_file",
    ),
    Case(
        "several",
        changed('"grid"', '"grid"\nsamples = 3').replace("usd = 1.0", "usd = 1.0\nurs = 1"),
        "FOLDER/recipe.toml: budget.urs: unknown key; "
        "did you mean usd?\n"
        "FOLDER/recipe.toml: source.samples: unknown key; "
        "did you mean sample?",
    ),
    Case(
        "files empty",
        changed('kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]', 'kind = "files"\npaths = []'),
        'FOLDER/recipe.toml: source.paths = []: is empty; write a list of globs, such as ["stories/*.txt"]',
    ),
    Case(
        "system at completions",
        changed('model = "gpt', 'endpoint = "completions"\nsystem = "s"\nmodel = "gpt'),
        "FOLDER/recipe.toml: steps[0].system: the completions endpoint takes no system prompt; "
        "write it into prompt, or use the chat endpoint",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.mistake for case in CASES])
def test_a_mistake_has_one_message_that_is_enough(case: Case, tmp_path: Path) -> None:
    """The message names file, key, value and mend, and is exactly this one."""
    path = write(tmp_path, case.recipe)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert str(raised.value) == case.message.replace("FOLDER", str(tmp_path))
    assert raised.value.exit_code == 2


def test_the_recipe_that_is_spoilt_here_loads(tmp_path: Path) -> None:
    """Without its mistake, each of these recipes is right."""
    assert load_recipe(write(tmp_path)).recipe.name == "r"


def test_every_kind_of_mistake_is_told_apart() -> None:
    """No two entries of the table are the same recipe."""
    assert len({case.recipe for case in CASES}) == len(CASES) >= 30
