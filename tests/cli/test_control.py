"""Steering a run under way from another process: what the server's books, the journal and the person see of it."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.cli_support import RECIPE, Shell, environment, started
from tests.support.simulator import Simulator

DEADLINE_S = 100.0
ROWS = 36
ANIMALS = ", ".join(f'"animal {number}"' for number in range(ROWS // 12))
TALES = (
    RECIPE[: RECIPE.index("[fine_tune]")]
    .replace('place = ["India"', f'animal = [{ANIMALS}]\nplace = ["India"')
    .replace("[budget]", "[limits]\nconcurrency = 2\nrequests_per_minute = 240\n[budget]")
    .replace("in {{ place }}.", "in {{ place }} with {{ animal }}.")
)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


@pytest.fixture
def tales(shell: Shell, simulator: Simulator) -> Shell:
    """A recipe of three dozen rows that takes ten seconds, two at a time."""
    simulator.control(latency_s=0.1)
    shell.write("films.toml", TALES)
    return shell


@contextmanager
def under_way(tales: Shell, simulator: Simulator, *flags: str, answered: int = 3) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has some answers already and is far from its end. What it says goes to the file `log`."""
    with (
        (tales.cwd / "log").open("wb") as log,
        started("run", "films.toml", *flags, cwd=tales.cwd, env=tales.env(), stderr=log) as process,
    ):
        until(lambda: bool(simulator.books()["delivered"] >= answered))
        yield process


def logged(tales: Shell, event: str) -> Callable[[], bool]:
    return lambda: f'"event":"{event}"' in (tales.cwd / "log").read_text()


def prompts(tales: Shell) -> list[str]:
    """The prompt of every answer, in the order of the source."""
    return [entry["prompt"] for entry in tales.run("show", "films", "--json").lines()]


# -- tune ------------------------------------------------------------------------------------------------------------


def test_limits_are_others_at_once_and_the_recipe_stays(tales: Shell, simulator: Simulator) -> None:
    """At four a minute it would take ten minutes; the words say before and after."""
    tales.write("films.toml", TALES.replace("= 240", "= 4"))
    with under_way(tales, simulator, answered=1) as process:
        ending = tales.run("tune", "films", "--rpm", "60000", "--concurrency", "8", "--budget", "2.5")
        assert (ending.code, ending.out.splitlines()) == (
            0,
            [
                "requests per minute of gpt-4o-mini: 4 -> 60,000",
                "at once of gpt-4o-mini: 2 -> 8",
                "budget: $1.00 -> $2.50",
            ],
        )
        assert "the recipe is untouched" in ending.err
        assert process.wait(DEADLINE_S) == 0
    assert simulator.books()["billed"] == ROWS
    assert simulator.books()["in_flight_max"] > 2
    assert tales.cwd.joinpath("films.toml").read_text() == TALES.replace("= 240", "= 4")
    assert tales.run("status", "films", "--json").json()["usd"]["budget"] == 2.5


@pytest.mark.torture
def test_a_budget_below_what_is_committed_ends_the_run(tales: Shell, simulator: Simulator) -> None:
    """Nothing more leaves, what is in flight is kept, and the exit code is that of a budget that is reached."""
    with under_way(tales, simulator) as process:
        ending = tales.run("tune", "films", "--budget", "0.000001", "--json")
        received = simulator.books()["received"]
        assert [change["what"] for change in ending.json()["changes"]] == ["budget_usd"]
        assert "nothing more leaves" in ending.json()["notes"][0]
        assert process.wait(DEADLINE_S) == 3
    books = simulator.books()
    assert books["received"] - received <= 2  # what was being written down as sent
    status = tales.run("status", "films", "--json").json()
    assert (status["state"], status["requests"]["completed"]) == ("budget_reached", books["billed"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "nothing is to be changed; say what: --rpm, --tpm, --concurrency, --budget"),
        (("--rpm", "0"), "--rpm = '0': is out of range; give a number above zero, at most 1,000,000,000"),
        (("--tpm", "many"), "--tpm = 'many': is not a number; give a number above zero, at most 1,000,000,000,000"),
        (("--concurrency", "0"), "--concurrency = '0': is no whole number from 1; give one, such as 10"),
        (
            ("--concurrency", "200000"),
            "--concurrency = 200000: cannot be used; give a whole number from 1, at most 100,000",
        ),
        (("--budget", "-1"), "--budget = '-1': is out of range; give dollars above zero, such as 25"),
        (("--rpm", "5", "--model", "gpt"), "--model = 'gpt': no step uses this model; name one of: gpt-4o-mini"),
        (("--budget", "5", "--model", "gpt"), "--model = 'gpt': the budget is the whole run's; leave --model out"),
    ],
)
def test_a_value_that_cannot_be_used_gets_one_message(flags: tuple[str, ...], message: str, busy: Shell) -> None:
    """And nothing changes."""
    ending = busy.run("tune", "films", *flags)
    assert (ending.code, ending.out, ending.err) == (2, "", f"tunemill: {message}\n")


def test_the_variables_of_tune_are_its_own(busy: Shell) -> None:
    """What `run` began with is in the same container's environment, and is no wish to change anything."""
    ending = busy.run("tune", "films", TUNEMILL_BUDGET="25", TUNEMILL_TUNE_RPM="none")
    assert ending.err.startswith("tunemill: TUNEMILL_TUNE_RPM = 'none': is not a number")
    assert busy.run("tune", "films", TUNEMILL_BUDGET="25").code == 2


@pytest.fixture(scope="module")
def busy_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Simulator]]:
    """A run that is under way for as long as anybody looks at it."""
    folder = tmp_path_factory.mktemp("busy")
    (folder / "films.toml").write_text(TALES)
    flags = ("--grace", "0")
    with (
        Simulator("--latency-s", "600") as slow,
        started("run", "films.toml", *flags, cwd=folder, env=environment(slow.base_url)),
    ):
        until(lambda: bool(slow.books()["in_flight"] == 2))  # all that may be: from here on nothing moves
        yield folder, slow


@pytest.fixture
def busy(
    busy_folder: tuple[Path, Simulator], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A shell beside it."""
    folder, slow = busy_folder
    return Shell(folder, slow.base_url, monkeypatch, capsys)


def test_where_nothing_runs_there_is_nothing_to_steer(tales: Shell, simulator: Simulator) -> None:
    """One sentence that names the mend."""
    simulator.control(latency_s=0)
    assert tales.run("run", "films.toml", "--limit", "2").code == 0
    for command, *flags in (("tune", "--rpm", "5"), ("pause",), ("resume",), ("reload",)):
        ending = tales.run(command, "films", *flags)
        assert (ending.code, ending.out) == (2, "")
        assert ending.err == (
            "tunemill: runs/films: nothing is running there; start it with `tunemill run RECIPE`; "
            "what the recipe says then counts\n"
        )
        assert tales.run(command, "film", *flags).code == 2


# -- pause -----------------------------------------------------------------------------------------------------------


def test_a_paused_run_sends_nothing_until_it_goes_on(tales: Shell, simulator: Simulator) -> None:
    """What is in flight arrives; everybody says that it is paused, and for whom it waits."""
    with under_way(tales, simulator) as process:
        assert "in flight are awaited and kept" in tales.run("pause", "films").err
        until(lambda: simulator.books()["in_flight"] == 0)
        received = simulator.books()["received"]
        status = tales.run("status", "films", "--json").json()
        assert (status["state"], list(status["waiting_for"])) == ("paused", ["paused"])
        assert status["requests"]["completed"] == received
        assert status["usd"]["reserved"] == 0
        assert "already" in tales.run("pause", "films").err
        time.sleep(1.0)  # four would have left
        assert simulator.books()["received"] == received
        assert tales.run("resume", "films").code == 0
        assert "was not paused" in tales.run("resume", "films").err
        assert tales.run("tune", "films", "--rpm", "60000").code == 0
        assert process.wait(DEADLINE_S) == 0
    lines = map(json.loads, (tales.cwd / "log").read_text().splitlines()[:-1])
    states = [line["state"] for line in lines if line["event"] == "state_changed"]
    assert states[:3] == ["running", "paused", "running"]
    assert (simulator.books()["billed"], simulator.books()["billed_twice"]) == (ROWS, 0)


@pytest.mark.torture
def test_a_paused_run_ends_at_the_first_signal(tales: Shell, simulator: Simulator) -> None:
    """There is nothing to wait for; the next run finishes it, and is not paused any more."""
    with under_way(tales, simulator) as process:
        tales.run("pause", "films")
        until(lambda: simulator.books()["in_flight"] == 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 143
    simulator.control(latency_s=0)
    tales.write("films.toml", TALES.replace("= 240", "= 60000"))
    assert tales.run("run", "films.toml").code == 0
    assert (simulator.books()["billed"], simulator.books()["billed_twice"]) == (ROWS, 0)


# -- reload ----------------------------------------------------------------------------------------------------------

BETTER = TALES.replace("Plot a", "With great care, plot a")


def test_a_prompt_can_be_improved_in_mid_run(tales: Shell, simulator: Simulator) -> None:
    """By SIGHUP; garbage changes nothing; a kill -9 afterwards loses nothing; what was answered the old way is asked
    for again only by a run that is not told to keep it."""
    with under_way(tales, simulator) as process:
        tales.write("films.toml", BETTER + "]")
        process.send_signal(signal.SIGHUP)
        until(logged(tales, "recipe_reload_refused"))
        tales.write("films.toml", BETTER)
        process.send_signal(signal.SIGHUP)
        until(logged(tales, "recipe_reloaded"))
        delivered = simulator.books()["delivered"]
        until(lambda: bool(simulator.books()["delivered"] >= delivered + 4))
        process.kill()
    assert "With great care" in (tales.cwd / "runs/films/recipe.toml").read_text()
    simulator.control(latency_s=0)
    tales.write("films.toml", BETTER.replace("= 240", "= 60000"))
    assert tales.run("run", "films.toml", "--keep-existing").code == 0
    asked = prompts(tales)
    old = sum("With great care" not in prompt for prompt in asked)
    assert len(asked) == ROWS
    assert 3 <= old < ROWS / 2
    billed = simulator.books()["billed"]
    assert billed <= ROWS + 2  # what was in flight when it was killed
    assert tales.run("run", "films.toml").code == 0
    assert simulator.books()["billed"] == billed + old
    assert all("With great care" in prompt for prompt in prompts(tales))


@pytest.mark.torture
def test_a_run_that_was_reloaded_is_not_taken_for_one_that_saw_the_recipe_through(
    tales: Shell, simulator: Simulator
) -> None:
    """The next run looks at its rows again, and asks for what has an answer to the old prompt."""
    with under_way(tales, simulator) as process:
        tales.write("films.toml", BETTER.replace("= 240", "= 60000").replace("usd = 1.0", "usd = 3.0"))
        ending = tales.run("reload", "films", "--json")
        assert [(change["what"], change["after"]) for change in ending.json()["changes"]] == [
            ("requests_per_minute", 60000.0),
            ("budget_usd", 3.0),
        ]
        assert "--keep-existing" in ending.json()["notes"][1]
        assert process.wait(DEADLINE_S) == 0
    simulator.control(latency_s=0)
    assert simulator.books()["billed"] == ROWS
    old = sum("With great care" not in prompt for prompt in prompts(tales))
    assert 3 <= old < ROWS
    assert tales.run("run", "films.toml").code == 0
    assert simulator.books()["billed"] == ROWS + old


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('model = "gpt-4o-mini"', 'model = "gpt-4o"', "steps[0].model: it was 'gpt-4o-mini' and now it is 'gpt-4o'"),
        ('genre = ["horror", ', "genre = [", "source: source changed"),
        ("[[steps]]", "samples = 2\n[[steps]]", "samples"),
        ("{{ genre }}", "{{ genres }}", "genres"),
        ("max_tokens = 40", "", "max_tokens"),
    ],
)
def test_a_recipe_that_the_run_cannot_go_on_by_is_refused(old: str, new: str, said: str, busy: Shell) -> None:
    """With one message, and the run goes on as before."""
    before = busy.run("status", "films", "--json").json()["requests"]
    busy.write("films.toml", TALES.replace(old, new, 1))
    ending = busy.run("reload", "films")
    busy.write("films.toml", TALES)
    assert (ending.code, ending.out) == (2, "")
    assert said in ending.err
    assert busy.run("status", "films", "--json").json()["requests"] == before


def test_a_recipe_that_is_as_it_was_changes_nothing(busy: Shell) -> None:
    """It is read, and that is all."""
    ending = busy.run("reload", "films")
    assert (ending.code, ending.err) == (0, "Nothing in it changes what is sent\n")


# -- signals at every moment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param("at the throttle", marks=pytest.mark.torture),
        pytest.param("in an outage", marks=pytest.mark.torture),
        pytest.param("in a backoff", marks=pytest.mark.torture),
    ],
)
def test_a_signal_is_heard_whatever_the_run_waits_for(trouble: str, tales: Shell, simulator: Simulator) -> None:
    """Nothing is in flight, so nothing is waited for."""
    if trouble == "at the throttle":
        tales.write("films.toml", TALES.replace("= 240", "= 1"))
    elif trouble == "in an outage":
        simulator.control(faults={"server_error": 1.0})
        tales.write("films.toml", TALES.replace("= 240", "= 60000"))
    else:
        simulator.control(faults={"rate_limit_retry_after": 1.0})
    with started("run", "films.toml", "--grace", "30", cwd=tales.cwd, env=tales.env()) as process:
        until(lambda: bool(simulator.books()["received"] >= 1 and simulator.books()["in_flight"] == 0))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 143
    status = tales.run("status", "films", "--json").json()
    assert (status["state"], status["reason"]) == ("interrupted", "stopped by SIGTERM")
    assert status["requests"]["completed"] == simulator.books()["billed"]


@pytest.mark.torture
def test_while_it_drains_it_says_how_many_it_awaits_and_for_how_long(tales: Shell, simulator: Simulator) -> None:
    """From outside as on the screen; nothing can be steered any more."""
    with under_way(tales, simulator, "--grace", "300") as process:
        simulator.control(latency_s=2.0)
        until(lambda: simulator.books()["in_flight"] == 2)
        process.send_signal(signal.SIGINT)
        until(lambda: bool(tales.run("status", "films", "--json").json()["state"] == "draining"))
        status = tales.run("status", "films")
        refused = tales.run("tune", "films", "--rpm", "5")
        assert process.wait(DEADLINE_S) == 130
    assert re.search(r"ending +[12] answers? (is|are) awaited, for (5 min 00 s|4 min 5\d s) more", status.out)
    assert refused.err == "tunemill: the run is ending; wait for it, change the recipe, and run it again\n"
