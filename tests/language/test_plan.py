"""The plan: what is refused before money is spent, and that its figures are what the recipe would take."""

import json
from pathlib import Path

import orjson
import pytest
from tests.language.recipes import GOOD, changed, write
from tests.language.test_load_recipe import EVERYTHING

from tunemill.errors import RecipeError, SourceError
from tunemill.model import Request, picodollars
from tunemill.plan import Plan, Planner, PlanOptions, SoFar, base_urls_of, make_plan
from tunemill.plan.lengths import ROWS_LOOKED_AT_MAX
from tunemill.pricing import price_of
from tunemill.recipe import load_recipe
from tunemill.sources import open_source

GRID = 'kind = "grid"\n[source.axes]\ngenre = ["horror", "western"]'
TWO_STEPS = changed(
    "[budget]",
    '[[steps]]\nname = "expanded"\nmodel = "gpt-4o"\nsamples = 3\nprompt = "Expand: {{ outline }}"\n'
    "params.max_tokens = 200\n[budget]",
).replace('assistant = "{{ outline }}"', 'assistant = "{{ expanded }}"')
TUNED = '[fine_tune]\nmodel = "gpt-4o-mini-2024-07-18"\nn_epochs = 2\n'


def plan(folder: Path, text: str = GOOD, options: PlanOptions | None = None) -> Plan:
    """The plan of this recipe."""
    return make_plan(load_recipe(write(folder, text)), options or PlanOptions())


def test_an_unknown_price_under_a_budget_is_an_error(tmp_path: Path) -> None:
    """Unknown is not zero: the message says what to write."""
    with pytest.raises(RecipeError) as raised:
        plan(tmp_path, changed("gpt-4o-mini", "my.model"))
    assert str(raised.value) == (
        f"{tmp_path}/recipe.toml: steps[0].model = 'my.model': no price is known for this model at "
        'https://api.openai.com/v1, so no budget can be kept; write [pricing."my.model"] with input_per_million and '
        "output_per_million in dollars (0 for a model of your own), or run without a budget"
    )


def test_a_budget_given_as_an_option_has_the_same_rules(tmp_path: Path) -> None:
    """As if the recipe had named it."""
    text = changed("[budget]\nusd = 1.0\n", "").replace("max_tokens = 100", "temperature = 1.0")
    with pytest.raises(RecipeError, match="under a budget every step sets max_tokens"):
        plan(tmp_path, text, PlanOptions(budget=picodollars(1)))


def test_rows_that_all_fail_are_an_error_and_some_a_warning(tmp_path: Path) -> None:
    """A recipe of which nothing can be sent is a mistake; a bad row is not."""
    text = changed(GRID, 'kind = "table"\npath = "t.jsonl"')
    (tmp_path / "t.jsonl").write_text('{"genre": "horror", "n": 1}\n{"genre": "western", "n": 0}\n')
    with pytest.raises(RecipeError, match=r"steps: no row fits its template \(steps\[0\].prompt: division by zero\)"):
        plan(tmp_path, text.replace("{{ genre }} film", "{{ 1 / 0 }} film"))
    some = plan(tmp_path, text.replace("{{ genre }} film", "{{ 1 / n }} film"))
    assert (
        "1 of 2 rows looked at do not fit a template and would fail: steps[0].prompt: division by zero."
        in some.warnings
    )


def test_a_wrong_source_is_told(tmp_path: Path) -> None:
    """The source is opened, and its columns are compared with the templates."""
    text = changed(GRID, 'kind = "table"\npath = "t.csv"')
    with pytest.raises(SourceError, match="there is no such file"):
        plan(tmp_path, text)
    (tmp_path / "t.csv").write_text("title\nA\n")
    with pytest.raises(RecipeError, match=r"it uses \{\{ genre \}\}, which no row has"):
        plan(tmp_path, text)


def test_requests_multiply_along_the_chain(tmp_path: Path) -> None:
    """Two rows, one outline each, three expansions of each."""
    two = plan(tmp_path, TWO_STEPS)
    assert [step.requests for step in two.steps] == [2, 6]
    assert (two.rows, two.requests) == (2, 8)


def test_the_worst_case_is_what_the_ledger_would_reserve(tmp_path: Path) -> None:
    """For a first step: the sum over all rows of each request's own bounds at the model's price."""
    loaded = load_recipe(write(tmp_path, GOOD))
    price = price_of("gpt-4o-mini", "https://api.openai.com/v1", {})
    assert price is not None
    made = [Planner(loaded.recipe).render(0, row, 0, {}) for row in open_source(loaded.recipe.source, tmp_path).rows()]
    worst = sum(price.worst(each.input_tokens_max, 100) for each in made if isinstance(each, Request))
    assert make_plan(loaded).worst == worst


def test_the_expected_cost_is_below_the_worst(tmp_path: Path) -> None:
    """Half of max_tokens is taken as an answer's length until some were seen."""
    first = plan(tmp_path, TWO_STEPS)
    assert first.expected is not None
    assert first.worst is not None
    assert 0 < first.expected < first.worst
    assert [step.output_tokens_mean for step in first.steps] == [50, 100]
    assert any("50% of its max_tokens" in assumption for assumption in first.assumptions)


def test_what_was_seen_replaces_what_was_assumed(tmp_path: Path) -> None:
    """A resumed run's plan is for what remains, at the lengths that its answers had."""
    so_far = {"outline": SoFar(completed=2, output_tokens_mean=10.0), "expanded": SoFar(completed=1)}
    resumed = plan(tmp_path, TWO_STEPS, PlanOptions(so_far=so_far, spent=picodollars(0.25)))
    assert resumed.steps[0].expected == 0
    assert resumed.steps[1].remaining == 5
    assert resumed.steps[1].input_tokens_mean < plan(tmp_path, TWO_STEPS).steps[1].input_tokens_mean
    assert resumed.to_json()["requests"] == {"planned": 8, "completed": 3, "remaining": 5}
    assert resumed.budget is not None
    assert resumed.budget.to_json()["left"] == 0.75


def test_a_budget_that_does_not_cover_the_plan_is_told_in_rows(tmp_path: Path) -> None:
    """`run` would stop there, so the plan says where that is."""
    small = plan(tmp_path, changed('["horror", "western"]', str(list(range(100)))).replace("usd = 1.0", "usd = 0.0008"))
    assert small.budget is not None
    assert not small.budget.covers_plan
    assert 20 < small.budget.rows_covered < 30
    assert small.warnings[0] == (
        f"The budget of $0.0008 covers about {small.budget.rows_covered} of 100 rows at the expected cost; "
        "`run` stops there, and goes on from there when the budget is raised."
    )


def test_a_request_larger_than_the_budget_is_told(tmp_path: Path) -> None:
    """It would never be sent, however long one waits."""
    tiny = plan(tmp_path, changed("max_tokens = 100", "max_tokens = 100000").replace("usd = 1.0", "usd = 0.05"))
    assert tiny.warnings[0].startswith("One request of step 'outline' may cost $0.06, and $0.05 are left: it will not")


def test_training_is_part_of_what_the_budget_must_cover(tmp_path: Path) -> None:
    """The budget is for generation, evaluation and training together."""
    text = changed('["horror", "western"]', str([f"{number} " * 400 for number in range(100)])).replace("1.0", "0.1")
    alone = plan(tmp_path, text)
    assert alone.budget is not None
    assert alone.budget.covers_plan
    tuned = plan(tmp_path, text + TUNED)
    assert tuned.training is not None
    assert tuned.training.cost is not None
    assert tuned.training.cost == tuned.training.tokens * 2 * 3_000_000
    assert tuned.budget is not None
    assert not tuned.budget.covers_plan


def test_an_unknown_training_price_is_said_plainly(tmp_path: Path) -> None:
    """It is no error: the target may be free. It is in no figure."""
    text = GOOD + TUNED.replace("gpt-4o-mini-2024-07-18", "llama")
    unknown = plan(tmp_path, text)
    assert unknown.training is not None
    assert unknown.training.cost is None
    assert any("The price of training llama is not known" in warning for warning in unknown.warnings)


def test_the_slowest_limit_binds(tmp_path: Path) -> None:
    """Requests, tokens or concurrency, for each model separately."""
    grid = changed('["horror", "western"]', str(list(range(600))))
    by_requests = plan(tmp_path, grid + "[limits]\nrequests_per_minute = 60\n")
    assert by_requests.lanes[0].binds == "requests_per_minute"
    assert by_requests.lanes[0].seconds == 600
    by_tokens = plan(tmp_path, grid + "[limits]\ntokens_per_minute = 6000\nrequests_per_minute = 6000\n")
    assert by_tokens.lanes[0].binds == "tokens_per_minute"
    assert plan(tmp_path, grid + "[limits]\nconcurrency = 1\n").lanes[0].binds == "concurrency"
    own = '[limits]\nrequests_per_minute = 60\n[limits.models."gpt-4o-mini"]\nrequests_per_minute = 600\n'
    assert plan(tmp_path, grid + own).lanes[0].seconds_by_limit["requests_per_minute"] == 60


def test_models_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """The whole takes as long as the slowest of them, and the passage of the last row."""
    two = plan(tmp_path, TWO_STEPS + "[limits]\nrequests_per_minute = 1\n")
    assert [lane.seconds for lane in two.lanes] == [120, 360]
    assert 360 < two.seconds < 370
    assert plan(tmp_path, GOOD, PlanOptions(so_far={"outline": SoFar(completed=2)})).seconds == 0


def test_three_rows_are_shown_with_a_placeholder_for_what_is_not_known(tmp_path: Path) -> None:
    """Each step's request as it would be sent; the text of an earlier step is named."""
    shown = plan(tmp_path, TWO_STEPS.replace('"western"', '"western", "romance", "crime"')).prompts
    assert [prompt.step for prompt in shown] == ["outline", "expanded"] * 3
    assert shown[0].prompt == "Plot a horror film."
    assert shown[1].prompt == "Expand: [here stands the text of outline]"


def test_a_pilot_is_planned_for_its_rows(tmp_path: Path) -> None:
    """`--limit 5` of a huge grid is five rows, and no more are looked at."""
    pilot = plan(tmp_path, changed('["horror", "western"]', str(list(range(100)))), PlanOptions(limit=5))
    assert (pilot.rows, pilot.rows_looked_at, pilot.requests) == (5, 5, 5)


def test_a_huge_grid_is_estimated_from_some_of_its_cells(tmp_path: Path) -> None:
    """A million million rows cost as much to plan as two thousand, and the plan says so."""
    axes = "".join(f"x{number} = {list(range(1000))}\n" for number in range(4))
    huge = plan(
        tmp_path, changed("[source.axes]\n", f"[source.axes]\n{axes}").replace("{{ genre }}", "{{ x0 }} {{ x3 }}")
    )
    assert huge.rows == 2 * 10**12
    assert huge.rows_looked_at == ROWS_LOOKED_AT_MAX
    assert any("estimated from 2,000 of 2,000,000,000,000 rows" in assumption for assumption in huge.assumptions)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (changed("[budget]\nusd = 1.0\n", ""), "There is no [budget]: nothing bounds what the run may spend."),
        (
            changed("{{ genre }} film", "good film"),
            "1 of 2 rows looked at ask exactly what another row asks, and share its answer: "
            "write {{ entropy }} into the prompt to have one for each.",
        ),
        (
            changed('name = "outline"', 'name = "outline"\nsamples = 4').replace(
                "max_tokens", "temperature = 0\nmax_tokens"
            ),
            "Step 'outline' asks 4 times for the same answer: it has temperature = 0.",
        ),
        (
            changed("{{ outline }}", "{{ genre }}"),
            "Nothing uses the text of step 'outline': neither a later step nor [train].",
        ),
        (GOOD + TUNED, "At most 2 examples to train on: a fine-tuning job needs at least 10."),
        (
            changed('["horror", "western"]', str(list(range(20)))) + TUNED,
            "At most 20 examples to train on: 50 or more are advised.",
        ),
        (GOOD + TUNED, "validation_fraction is 0: nothing is held out to evaluate the tuned model with."),
        (
            changed("[budget]\nusd = 1.0\n", "").replace("gpt-4o-mini", "my-model"),
            "No price is known for my-model: write [pricing] for it to see what this will cost.",
        ),
    ],
)
def test_what_a_person_should_know_before_spending_is_said(text: str, warning: str, tmp_path: Path) -> None:
    """Each warning says what to do about it; a good recipe has none."""
    assert warning in plan(tmp_path, text).warnings
    assert plan(tmp_path).warnings == ()


def test_a_recipe_without_steps_is_planned_for_its_training(tmp_path: Path) -> None:
    """Rows that are examples already cost nothing to make, and something to train on."""
    (tmp_path / "voice.jsonl").write_bytes(
        b"\n".join(orjson.dumps({"messages": [{"role": "user", "content": "word " * 100}]}) for _ in range(20))
    )
    text = 'name = "voice"\n[source]\nkind = "table"\npath = "voice.jsonl"\n[train]\nmessages = "messages"\n' + TUNED
    voice = plan(tmp_path, text)
    assert (voice.rows, voice.requests, voice.expected, voice.seconds) == (20, 0, 0, 0)
    assert voice.training is not None
    assert voice.training.examples == 20
    assert 20 * 125 < voice.training.tokens < 20 * 160


def test_the_plan_as_json_has_a_fixed_shape(tmp_path: Path) -> None:
    """Programs read it: keys change only on purpose. It survives JSON, and dollars are numbers."""
    text = EVERYTHING.replace(
        "[pricing", '[pricing."gpt-4o"]\ninput_per_million = 2.5\noutput_per_million = 10\n[pricing'
    )
    shape = plan(tmp_path, text).to_json()
    assert json.loads(json.dumps(shape)) == shape
    assert {
        key: sorted(value) if isinstance(value, dict) else type(value).__name__ for key, value in shape.items()
    } == {
        "recipe": "str",
        "rows": "int",
        "rows_looked_at": "int",
        "requests": ["completed", "planned", "remaining"],
        "steps": "list",
        "tokens": ["input", "output"],
        "usd": ["budget", "expected", "spent", "training", "worst"],
        "time": ["models", "seconds"],
        "budget": ["covers_plan", "left", "rows_covered", "usd"],
        "training": ["epochs", "examples", "model", "price", "tokens", "usd"],
        "prompts": "list",
        "assumptions": "list",
        "warnings": "list",
    }
    steps = shape["steps"]
    assert isinstance(steps, list)
    assert sorted(steps[0]) == [
        "completed",
        "input_tokens_mean",
        "model",
        "name",
        "output_tokens_max",
        "output_tokens_mean",
        "price",
        "provider",
        "requests",
        "usd_expected",
        "usd_worst",
    ]


def test_addresses_come_from_the_recipe_then_from_the_environment(tmp_path: Path) -> None:
    """A named provider has its own; [provider] without one goes to the default that is handed in."""
    recipe = load_recipe(write(tmp_path, GOOD + '[providers.judge]\nbase_url = "http://j/v1"\n')).recipe
    assert base_urls_of(recipe, default="http://d/v1") == {"": "http://d/v1", "judge": "http://j/v1"}
    assert base_urls_of(recipe)[""] == "https://api.openai.com/v1"
