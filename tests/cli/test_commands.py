"""Each command as a person uses it, against the simulator, whose books say what was really sent and billed."""

import pytest
from tests.cli.cli_support import RECIPE, ROWS, Ending, Shell, forked
from tests.support.simulator import Simulator

EXAMPLES = {"movie-plots": 6, "voice": 0, "writing-coach": 3, "synopses": 0}  # with the prompts that a plan shows
UNTUNED = RECIPE[: RECIPE.index("[fine_tune]")]


@pytest.fixture
def films(shell: Shell, request: pytest.FixtureRequest) -> Shell:
    """A shell whose folder holds the recipe. No other test has the same dataset: its job would be found, and taken."""
    shell.write("films.toml", RECIPE.replace('"{{ plot }}"', f'"{{{{ plot }}}} {request.node.name}"'))
    return shell


def _done(ending: Ending) -> Ending:
    assert ending.code == 0, ending.err
    return ending


def _examples(shell: Shell, name: str = "train.jsonl") -> list[str]:
    return (shell.cwd / "runs" / "films" / name).read_text().splitlines()


# -- init, plan ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_planned_where_init_wrote_it(example: str, shell: Shell, simulator: Simulator) -> None:
    """`init` brings along what the recipe reads, and names the recipe as it was asked to."""
    written = _done(shell.run("init", "mine", "--example", example))
    assert written.talk[0].startswith("wrote mine.toml")
    assert "examples/" not in (shell.cwd / "mine.toml").read_text()
    plan = _done(shell.run("plan", "mine.toml", "--json")).json()
    assert plan["recipe"] == "mine"
    assert len(plan["prompts"]) == EXAMPLES[example]
    assert simulator.books()["received"] == 0


def test_two_recipes_may_start_from_one_example(shell: Shell) -> None:
    """What the first `init` left is used by the second."""
    _done(shell.run("init", "one", "--example", "writing-coach"))
    _done(shell.run("init", "two", "--example", "writing-coach"))


def test_a_plan_needs_no_key_and_sends_nothing(films: Shell, simulator: Simulator) -> None:
    """Counts, prompts, dollars, time and what binds, on one screen of 80 columns."""
    plan = _done(films.run("plan", "films.toml", OPENAI_API_KEY=""))
    for words in ("Plot a horror film in India.", "requests   12", "at worst", "budget     $1.00: covers it", "binds"):
        assert words in plan.out
    assert plan.err == ""
    assert not (films.cwd / "runs").exists()
    assert simulator.books()["received"] == 0


def test_a_plan_cuts_a_long_prompt_and_says_so(shell: Shell) -> None:
    """What is not shown is counted."""
    shell.write("films.toml", RECIPE.replace("Plot a", "word " * 400 + "Plot a"))
    assert "[... 8" in _done(shell.run("plan", "films.toml")).out


# -- run -------------------------------------------------------------------------------------------------------------


def test_a_run_goes_through_to_the_tuned_model_and_once_is_enough(films: Shell, simulator: Simulator) -> None:
    """The last words name the dataset and the model; running it again sends nothing."""
    first = _done(films.run("run", "films.toml"))
    assert first.out == ""
    model = films.run("status", "films", "--json").json()["fine_tune"]["model"]
    assert first.talk == [
        "dataset: runs/films/train.jsonl, report: runs/films/report.html",
        f"tuned model: {model}; talk to it with: tunemill chat films",
    ]
    books = simulator.books()
    assert (books["billed"], books["jobs_created"], books["uploads"]) == (ROWS, 1, 2)
    _done(films.run("run", "films.toml"))
    again = simulator.books()
    assert (again["received"], again["jobs_created"], again["uploads"]) == (ROWS, 1, 2)
    chat = _done(forked("chat", "films", cwd=films.cwd, env=films.env(), stdin="horror in Peru"))
    assert chat.talk[0] == f"{model}: asked with messages as it was trained"


def test_until_build_makes_no_job(films: Shell, simulator: Simulator) -> None:
    """--until, also from the environment."""
    _done(films.run("run", "films.toml", TUNEMILL_UNTIL="build"))
    assert len(_examples(films)) + len(_examples(films, "validation.jsonl")) == ROWS
    assert simulator.books()["jobs_created"] == 0
    assert simulator.books()["uploads"] == 0


def test_until_generate_builds_nothing(films: Shell, simulator: Simulator) -> None:
    """The answers are there, and no dataset."""
    _done(films.run("run", "films.toml", "--until", "generate"))
    assert not (films.cwd / "runs" / "films" / "train.jsonl").exists()
    assert simulator.books()["billed"] == ROWS


def test_until_submit_does_not_wait(films: Shell, simulator: Simulator) -> None:
    """The job is made and not watched."""
    _done(films.run("run", "films.toml", "--until", "submit"))
    assert films.run("status", "films", "--json").json()["fine_tune"]["state"] == "created"
    assert simulator.books()["jobs_created"] == 1


def test_a_pilot_shows_its_answers_and_makes_no_job(films: Shell, simulator: Simulator) -> None:
    """The answers are data, on stdout, each with its prompt; nothing is tuned."""
    pilot = _done(films.run("run", "films.toml", "--limit", "3"))
    assert pilot.out.count("Plot a horror film in") == 3
    assert pilot.talk[-1].startswith("that was the pilot: tunemill show films")
    assert simulator.books()["billed"] == 3
    assert simulator.books()["jobs_created"] == 0
    _done(films.run("run", "films.toml", "--until", "build"))
    assert simulator.books()["billed"] == ROWS


def test_the_budget_of_the_flag_counts_and_is_remembered(films: Shell, simulator: Simulator) -> None:
    """Exit 3 with what to do; `status` knows the budget that was in force; a higher one finishes the run."""
    short = films.run("run", "films.toml", "--until", "build", "--budget", "0.00015")
    assert short.code == 3
    assert short.talk[-1].endswith("raise the budget (--budget or [budget] usd) and run again to go on")
    assert 0 < simulator.books()["usd_billed"] <= 0.00015
    status = films.run("status", "films", "--json").json()
    assert (status["state"], status["usd"]["budget"]) == ("budget_reached", 0.00015)
    _done(films.run("run", "films.toml", "--until", "build"))
    assert simulator.books()["billed"] == ROWS
    assert simulator.books()["billed_twice"] == 0


def test_a_run_dir_is_the_run_folder_itself(films: Shell) -> None:
    """With its parents; RUN may then be the path."""
    _done(films.run("run", "films.toml", "--until", "build", TUNEMILL_RUN_DIR="deep/er/here"))
    assert (films.cwd / "deep" / "er" / "here" / "train.jsonl").exists()
    assert not (films.cwd / "runs").exists()
    assert _done(films.run("status", "deep/er/here", "--json")).json()["state"] == "finished"


def test_an_edited_prompt_sends_only_what_changed(films: Shell, simulator: Simulator) -> None:
    """One axis value is renamed: a third of the rows is new."""
    _done(films.run("run", "films.toml", "--until", "build"))
    films.write("films.toml", RECIPE.replace('"musical"', '"heist"'))
    _done(films.run("run", "films.toml", "--until", "build"))
    assert simulator.books()["billed"] == ROWS + 4
    assert simulator.books()["billed_twice"] == 0
    shown = _done(films.run("show", "films", "--json")).lines()
    assert {entry["fields"]["genre"] for entry in shown} == {"horror", "western", "heist"}


def test_keep_existing_keeps_the_answers_of_an_edited_prompt(films: Shell, simulator: Simulator) -> None:
    """Rows that have an answer keep it; a new row gets one from the new prompt."""
    _done(films.run("run", "films.toml", "--until", "build", "--limit", "5"))
    films.write("films.toml", RECIPE.replace("Plot a", "Write a"))
    _done(films.run("run", "films.toml", "--until", "build", "--keep-existing"))
    assert simulator.books()["billed"] == ROWS
    prompts = [entry["prompt"] for entry in _done(films.run("show", "films", "--json")).lines()]
    assert [prompt.partition(" ")[0] for prompt in prompts] == ["Plot"] * 5 + ["Write"] * 7
    _done(films.run("run", "films.toml", "--until", "build"))
    assert simulator.books()["billed"] == ROWS + 5


def test_what_failed_for_good_is_listed_and_sent_again_only_when_asked(films: Shell, simulator: Simulator) -> None:
    """Exit 4 and a list; --retry-failed tries once more."""
    films.write("films.toml", UNTUNED.replace("[budget]", "[limits]\nattempts_max = 1\n[budget]"))
    simulator.control(faults={"server_error": 1.0})
    first = films.run("run", "films.toml", "--limit", "3")
    assert first.code == 4
    assert "failed requests: runs/films/failed.jsonl; --retry-failed sends them again" in first.talk
    failed = _done(films.run("show", "films", "--failed", "--json")).lines()
    assert len(failed) == 3
    assert {entry["attempts"] for entry in failed} == {1}
    assert all(entry["prompt"].startswith("Plot a horror film") for entry in failed)
    simulator.control(faults={})
    received = simulator.books()["received"]
    assert films.run("run", "films.toml", "--limit", "3").code == 4
    assert simulator.books()["received"] == received
    _done(films.run("run", "films.toml", "--limit", "3", "--retry-failed"))
    assert simulator.books()["received"] == received + 3
    assert _done(films.run("show", "films", "--failed")).talk == ["nothing to show: the run has no failures"]


def test_a_wrong_key_is_5_and_one_message(shell: Shell) -> None:
    """The provider refuses all of it: no storm, and what to do."""
    with Simulator("--api-key", "sk-the-right-one") as strict:
        shell.write("films.toml", RECIPE)
        refused = forked("run", "films.toml", cwd=shell.cwd, env=shell.env(OPENAI_BASE_URL=strict.base_url))
        assert refused.code == 5
        assert refused.talk[-1].startswith("tunemill: ")
        assert refused.talk[-1].endswith("mend it and run again to go on: what was answered is kept")
        assert strict.books()["received"] <= ROWS
        assert strict.books()["billed"] == 0


def test_local_needs_no_key_and_has_a_folder_of_its_own(films: Shell, simulator: Simulator) -> None:
    """The embedded server answers; it is said wherever dollars are shown."""
    _done(films.run("run", "films.toml", "--local", "--backend", "simulator", "--until", "build", OPENAI_API_KEY=""))
    status = _done(films.run("status", "films-local"))
    assert "films (simulated)" in status.out
    assert simulator.books()["received"] == 0


# -- looking ---------------------------------------------------------------------------------------------------------


def test_status_of_a_finished_run_counts_training(films: Shell, simulator: Simulator) -> None:
    """The same figures as the run's own, in words and as JSON."""
    _done(films.run("run", "films.toml", "--until", "submit"))
    status = _done(films.run("status", "films", "--json")).json()
    assert status["state"] == "finished"
    assert status["requests"] == {"planned": ROWS, "completed": ROWS, "failed": 0, "waiting": 0, "in_flight": 0}
    assert status["usd"]["settled"] == pytest.approx(
        simulator.books()["usd_billed"] + status["fine_tune"]["usd_estimated"]
    )
    words = _done(films.run("status", "films"))
    assert f"requests   {ROWS} of {ROWS} completed, 0 failed, 0 waiting, 0 in flight" in words.out
    assert words.out.splitlines()[-1] == "folder     runs/films"


def test_show_picks_by_an_expression(films: Shell) -> None:
    """Over the row's fields and the answer's; one JSON object a line, or a frame for a person."""
    _done(films.run("run", "films.toml", "--until", "build"))
    entries = _done(films.run("show", "films", "--where", "genre == 'horror' and chars > 0", "--json")).lines()
    assert [entry["fields"]["place"] for entry in entries] == ["India", "France", "Egypt", "Brazil"]
    assert {"request_id", "row", "step", "outcome", "prompt", "text", "usage", "usd"} <= entries[0].keys()
    framed = _done(films.run("show", "films", "--where", "place == 'Egypt' and genre == 'western'"))
    assert framed.out.count("Plot a western film in Egypt.") == 1
    assert all(len(line) <= 80 for line in framed.out.splitlines())
    nobody = _done(films.run("show", "films", "--where", "chars < 0"))
    assert (nobody.out, nobody.talk) == ("", ["nothing to show: the run has no completions like that"])


# -- the dataset -----------------------------------------------------------------------------------------------------


def test_build_after_an_edit_of_clean_costs_nothing(films: Shell, simulator: Simulator) -> None:
    """In the recipe and `run`, or in the run folder's copy and `build`: the answers are there."""
    _done(films.run("run", "films.toml", "--until", "build"))
    films.write("films.toml", RECIPE.replace("min_chars = 1", "min_chars = 100000"))
    assert _done(films.run("run", "films.toml", "--until", "build")).err.count("dataset_built") == 1
    assert _examples(films) == []
    assert len(_examples(films, "rejects.jsonl")) == ROWS
    copy = films.cwd / "runs" / "films" / "recipe.toml"
    copy.write_text(copy.read_text().replace("min_chars = 100000", "min_chars = 1"))
    built = _done(films.run("build", "films", "--json")).json()
    assert (built["kept"], built["rejected"]) == (ROWS, 0)
    assert simulator.books()["billed"] == ROWS


def test_build_says_what_it_made(films: Shell) -> None:
    """How many, where, and what left out the others."""
    _done(films.run("run", "films.toml", "--until", "generate"))
    copy = films.cwd / "runs" / "films" / "recipe.toml"
    copy.write_text(copy.read_text().replace("min_chars = 1\n", "min_chars = 100000\n"))
    assert _done(films.run("build", "films")).out.splitlines() == [
        f"answers    {ROWS}: 0 kept, {ROWS} rejected",
        f"rejected   {ROWS} by too_short",
        "training   0 examples in runs/films/train.jsonl",
        "validation 0 examples in runs/films/validation.jsonl",
        "report     runs/films/report.html",
    ]


def test_check_of_a_good_file(films: Shell) -> None:
    """What `build` writes is valid, has a price, and is 0."""
    _done(films.run("run", "films.toml", "--until", "build"))
    path = "runs/films/train.jsonl"
    report = _done(films.run("check", path, "--model", "gpt-4o-mini-2024-07-18", "--epochs", "2"))
    assert f"file       {path}: valid" in report.out
    assert "training   gpt-4o-mini-2024-07-18: $0.00" in report.out
    as_json = _done(films.run("check", path, "--model", "gpt-4o-mini-2024-07-18", "--json")).json()
    assert as_json["valid"] is True
    assert as_json["usd_training"] > 0


def test_check_of_a_bad_file(shell: Shell) -> None:
    """2, and each fault with file, line, field and mend."""
    shell.write("train.jsonl", '{"messages": [{"role": "user", "content": "x"}]}\n{"mess\n')
    report = shell.run("check", "train.jsonl")
    assert report.code == 2
    assert report.out.splitlines()[:2] == [
        "train.jsonl:1: error: messages: no message is the assistant's; add the assistant's message that is to be "
        "learned",
        "train.jsonl:2: error: column 7: unexpected end of data; write one complete JSON object on each line",
    ]
    assert shell.run("check", "train.jsonl", "--json").json()["valid"] is False


# -- fine-tuning -----------------------------------------------------------------------------------------------------


def test_submit_watch_and_submit_again(films: Shell, simulator: Simulator) -> None:
    """One job however often it is submitted; another only when asked for; watching ends with the model."""
    _done(films.run("run", "films.toml", "--until", "build"))
    first = _done(films.run("submit", "films", "--json")).json()
    second = _done(films.run("submit", "films", "--json"))
    assert second.json()["job_id"] == first["job_id"]
    assert second.talk == [f"note: fine-tuning job {first['job_id']} was made from this dataset before"]
    assert simulator.books()["jobs_created"] == 1
    watched = _done(films.run("watch", "films"))
    assert "model      ft:gpt-4o-mini-2024-07-18:" in watched.out
    assert any("training loss" in line for line in watched.talk)
    run = films.cwd / "runs" / "films"
    assert len((run / "metrics.csv").read_text().splitlines()) > 1
    again = _done(films.run("submit", "films", "--again", "--json")).json()
    assert again["job_id"] != first["job_id"]
    assert simulator.books()["jobs_created"] == 2
    assert simulator.books()["uploads"] == 2


def test_a_changed_dataset_is_not_submitted_by_itself(films: Shell, simulator: Simulator) -> None:
    """It is said that it changed, and how to make a second job."""
    _done(films.run("run", "films.toml", "--until", "submit"))
    films.write("films.toml", RECIPE.replace("{{ genre }} in", "A {{ genre }} in"))
    _done(films.run("run", "films.toml", "--until", "build"))
    changed = _done(films.run("submit", "films"))
    assert changed.talk[-1] == "note: nothing was submitted: `tunemill submit films --again` makes a second job"
    assert simulator.books()["jobs_created"] == 1


def test_submit_within_what_is_left_of_the_budget(films: Shell, simulator: Simulator) -> None:
    """3, and nothing uploaded."""
    _done(films.run("run", "films.toml", "--until", "build"))
    dear = films.run("submit", "films", "--budget", "0.0005")
    assert dear.code == 3
    assert dear.talk[-1] == "note: nothing was submitted: raise the budget and run again"
    assert simulator.books()["uploads"] == 0


def test_cancel(films: Shell) -> None:
    """The job stops; watching it says so with 6; cancelling twice is harmless."""
    _done(films.run("run", "films.toml", "--until", "submit"))
    cancelled = _done(films.run("cancel", "films"))
    assert "status     cancelled" in cancelled.out
    assert "successfully" not in cancelled.err
    watched = films.run("watch", "films")
    assert watched.code == 6
    assert watched.talk[-1].endswith("ended as cancelled")
    assert _done(films.run("cancel", "films")).talk[-1].endswith("had ended before: cancelled")


def test_a_simulated_job_cannot_be_followed_later(films: Shell, simulator: Simulator) -> None:
    """It was made up by a server that is gone; running again with --local makes another one and follows it."""
    local = ("run", "films.toml", "--local", "--backend", "simulator")
    _done(films.run(*local, "--until", "submit"))
    for command in ("watch", "cancel"):
        gone = films.run(command, "films-local")
        assert gone.code == 2
        assert gone.err.endswith(
            "was simulated, and is gone with the server that was started for it; run the recipe with --local again, "
            "which makes another one and follows it to its end\n"
        )
    _done(films.run(*local))
    assert _done(films.run("watch", "films-local", "--json")).json()["status"] == "succeeded"
    assert simulator.books()["received"] == 0


# -- chat ------------------------------------------------------------------------------------------------------------


def test_chat_answers_line_by_line(films: Shell, simulator: Simulator) -> None:
    """Questions from stdin, answers on stdout, all else on stderr; the conversation is remembered."""
    _done(films.run("run", "films.toml", "--until", "build"))
    simulator.reset_books()
    asked = "horror in Peru\n\nand then?"
    args = ("chat", "films", "--max-tokens", "20", "--model", "gpt-4o-mini")
    talk = _done(forked(*args, cwd=films.cwd, env=films.env(), stdin=asked))
    assert talk.talk[0] == "gpt-4o-mini: asked with messages as it was trained"
    assert talk.talk[1] == "its prompts were written by this template: {{ genre }} in {{ place }}"
    assert len(talk.out.strip()) > 20
    assert simulator.books()["billed"] == 2


def test_chat_with_a_completion_model(shell: Shell, simulator: Simulator) -> None:
    """A base model is asked with the separator and the stop that it was trained on."""
    head, _, _ = RECIPE.partition("[train]")
    train = 'format = "completion"\nprompt = "{{ genre }}, {{ place }}"\ncompletion = "{{ plot }}"\n'
    shell.write("films.toml", f"{head}[train]\n{train}[fine_tune]\nmodel = 'babbage-002'\n")
    _done(shell.run("run", "films.toml", "--until", "build"))
    simulator.reset_books()
    asked = _done(
        forked("chat", "films", "--model", "babbage-002", cwd=shell.cwd, env=shell.env(), stdin="horror, Peru\n")
    )
    assert asked.talk[0] == "babbage-002: asked with prompt, separator and stop as it was trained"
    assert simulator.books()["billed"] == 1
